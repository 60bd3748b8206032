// Package engine brings live patches to the processes of a machine: it decides which container
// belongs to which process and which engine puts it there, does so for many processes at once, and
// reports on each.
//
//	ReadContainers ─► Containers ─┐
//	ParseSelector  ─► Selector   ─┴─► Run ─► Look ─► plan ─► Target.Do ─► Report ─► Summary
//	                                                  └─ a dry run ends here
//	                                  Survey ─► Survey of a process: nothing is ever stopped
//
// Everything that can be known without stopping a process is decided before it is stopped, by the
// same code that a dry run uses. Containers are read and checked once, and matched to a process by
// the build-ids of the libraries in its memory. All changes to a process happen under one stop.
//
// A permanent obstacle is met once. A temporary one (a process inside malloc, under a debugger, or
// calling exec) is retried at growing intervals until the process's time is up. A process that does
// not answer delays only itself.
//
// Nothing that an unprivileged user set up decides about a privileged process or another user's
// process. First attempts come before retries, root's processes first, then users in turn. An
// opt-out in the environment does not count in a process that runs with other rights than those of
// the user who started it. When the context ends, no further process is begun, and those in
// progress are finished.
//
// A process has Failed if it should have been changed and a retry may succeed. It is Skipped, with
// the reason, if nothing here would change it: its owner opted out, it runs another build, it is a
// 32-bit program or an emulator, or it shares its memory with another process for good. A process
// that keeps a vulnerable library is always named in the report ([Report.Left]), so that nobody
// takes it for patched.
//
// An [Engine] is one way to apply live patches; this package knows nothing of registers, memory
// layouts or how a patch is written. Names and paths in reports come from processes and files: make
// them printable before they reach a terminal.
package engine
