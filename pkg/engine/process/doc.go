// Package process sees everything about a running process that a live patch depends on, without
// stopping it.
//
//	Scan ─► Look ─► Process ─► Memory ─ Libraries ─► rtld.Library ─ Symbols ─► rtld.Symbol
//	                                 └─ Prologue ─► state of a function's entry
//
// [Scan] and [Look] describe a process: state, user, container, tracer, seccomp. [Process.Memory]
// opens its memory. Each [rtld.Library] there is identified by the build-id in that memory, which
// is what the process runs, even if the file was deleted or replaced or belongs to a container. No
// file that a process names is ever opened; [File] is the file that the kernel has mapped, and only
// if it is a regular file.
//
// Nothing here stops, attaches to or writes to a process, and the process notices nothing. Each
// result belongs to one process and to one program in it: a PID that was given to another process
// is [ErrGone], a program that was replaced by exec is [ErrChanged].
//
// Processes are untrusted. Every length and every loop is bounded, and one call allocates at most
// 4 MiB of its own, whatever the process claims; more is [ErrLimit] or [ErrMalformed].
// ([Memory.Mappings] yields one mapping at a time; its caller pays for what it keeps.) Names and
// paths come from the process: make them printable before they reach a terminal. If a process does
// not answer, because its pages come from a file system that hangs, the call is abandoned when the
// context ends.
//
// To stop threads or run code in them, see package tracer.
package process
