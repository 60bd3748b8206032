// Package engine brings live patches to the processes of a machine: it decides which container
// belongs to which process and which engine puts it there, does so for many processes at once, and
// reports on each.
//
//	ReadContainers ─► Containers ─┐
//	ParseSelector  ─► Selector   ─┴─► Run ─► Look ─► plan ─► Target.Do ─► Report ─► Summary
//	                                                  └─ a dry run ends here
//	                                  Survey ─► Survey of a process: nothing is ever stopped
//
// The law: everything that can be known without stopping a process is decided before it is stopped,
// by the same code that a dry run uses. Containers are read and checked once, and found for a
// process by the build-id of the libraries in its memory. All that is to be done in a process is
// done under one stop. What cannot change is tried once; what can (a process inside malloc, under a
// debugger, calling exec) is tried again, less and less often, until its time is over. A process
// that does not answer delays only itself. What an unprivileged user set up never decides about a
// privileged process or another user's process: first attempts go before repeated ones, root's
// first, then users in turn. An opt-out in its environment does not count in a process that runs
// with other rights than those of the user who started it. When the context ends no further process
// is begun, and those in hand are finished.
//
// A process has Failed if it should have been changed and may be another time. It is Skipped, with
// the reason, if nothing that can be done here would change it: its owner does not want it, it runs
// another build, is a program of 32 bits or an emulator, or has its memory together with another
// process for all of its time. If it has the library, it keeps it as it is, and the report says so
// ([Report.Left]): nobody is to take it for patched.
//
// An [Engine] is one way to do it; this package knows nothing of registers, memory layouts or of
// how a patch is written. Names and paths in reports are words of processes and files: make them
// printable before they reach a terminal.
package engine
