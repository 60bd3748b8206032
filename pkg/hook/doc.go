// Package hook implements the scriptlets of live patch packages. They apply a package's live
// patches to the running processes when it is installed, revert them when it is erased, and report
// that in a few lines.
//
//	Request ─► place (where are we?) ─► setting (does the administrator want it?)
//	        ─► package directory (which files?) ─► engine.Run ─► Outcome
//
// A scriptlet never fails a transaction and never delays it beyond its deadline. RPM sees no errors
// from here; failures are reported in words. Names and files from outside are checked before use:
// nothing is executed, no link is followed, and a file counts only if nobody but root (or the user
// running this) can write to it. A run that ends before all processes were begun leaves a note of
// the others, with which the next run begins.
//
// A process belongs to this system if it sees the directory of live patches as the same directory.
// That one rule makes a transaction in a chroot leave the host's processes alone, makes one in a
// transactional update reach them (the directory is the host's), and leaves a container's processes
// to the container's own packages. A process of another system that has mapped a library with a
// live patch is counted as skipped and named. If a process does not answer, it is unknown whether
// it belongs here: it counts as failed.
package hook
