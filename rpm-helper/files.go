// Package rpmhelper holds what connects RPM's scriptlets and systemd with "lpbuild hook": a script, macros and units. It
// holds no code.
package rpmhelper

import "embed"

// FS has the script rpm-helper, macros.userspace-livepatch, lpbuild-reconcile.service and lpbuild-reconcile.timer.
//
//go:embed rpm-helper macros.userspace-livepatch lpbuild-reconcile.service lpbuild-reconcile.timer
var FS embed.FS
