// Package enginecli has the commands for running processes: trigger, revert, status and hook. Both
// lpbuild and lpbuild-engine have them. The work is that of packages engine and hook.
package enginecli
