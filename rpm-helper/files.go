// Package rpmhelper holds the files that connect RPM's scriptlets and systemd with "lpbuild hook":
// a script, macros and units. It contains no code.
package rpmhelper

import "embed"

// FS has the script rpm-helper, macros.userspace-livepatch, lpbuild-reconcile.service,
// lpbuild-reconcile.timer, and the settings that SUSE's fillup adds to /etc/sysconfig/livepatching.
//
//go:embed rpm-helper macros.userspace-livepatch lpbuild-reconcile.service
//go:embed lpbuild-reconcile.timer sysconfig.livepatching-lpbuild
var FS embed.FS
