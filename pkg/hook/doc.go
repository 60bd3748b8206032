// Package hook is what the scriptlets of a live patch package do: bring its live patches to the running processes when it is
// installed, take them out when it is erased, and say so in a few lines.
//
//	Request ─► place (where are we?) ─► setting (does the administrator want it?) ─► folder (which files?) ─► trigger.Run ─► Outcome
//
// The law: a scriptlet never fails a transaction and never holds it up longer than its deadline. Nothing here is an error to
// RPM; what went wrong is said in words. Names and files that come from outside are checked before they are used: nothing
// is executed, no link is followed, and a file counts only if nobody but root (or who runs this) can write it. A run that ends
// before all processes were begun leaves a note of the others, with which the next one begins.
//
// A process belongs to this system if it sees the directory of live patches as the same directory. That one rule makes a
// transaction in a chroot leave the host's processes alone, one in a transactional update reach them (the directory is the
// host's), and leave a container's processes to the container's own packages. A process of another system that has a library in
// memory which a live patch is for is counted as skipped and named. Whether a process that does not answer belongs here is
// unknown: it has failed.
package hook
