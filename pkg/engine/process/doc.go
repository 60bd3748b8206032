// Package process sees everything about a running process that a live patch depends on, without
// stopping it.
//
//	Scan ─► Look ─► Process ─► Memory ─ Libraries ─► rtld.Library ─ Symbols ─► rtld.Symbol
//	                                 └─ Prologue ─► state of a function's entry
//
// [Scan] and [Look] tell who a process is: state, user, container, tracer, seccomp.
// [Process.Memory] opens its memory, whose [rtld.Library] values are named by the build-id that
// stands in that memory: what the process runs, even when the file was deleted or replaced, or
// belongs to a container. No file that a process names is ever opened; [File] is what the kernel
// has mapped, and only if that is a regular file.
//
// The law: nothing here stops, attaches to or writes to a process, and the process notices nothing.
// What one call returns belongs to one process and to one program in it: a pid that was given to
// another process is [ErrGone], a program that was replaced by exec is [ErrChanged].
//
// A process is taken for hostile. Every length and every loop is bounded, and one call allocates at
// most 4 MiB of its own, whatever the process claims ([Memory.Mappings] shows one mapping after the
// other, and what its caller keeps is the caller's); what is beyond is [ErrLimit] or
// [ErrMalformed]. Names and paths are the process's own words: make them printable before they
// reach a terminal. A process that does not answer, because its pages come from a file system that
// hangs, is left behind when the context ends.
//
// It is not for stopping threads or running code in them: see package tracer.
package process
