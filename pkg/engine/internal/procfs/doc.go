// Package procfs reads /proc/PID: the only reader of these files in lpbuild.
//
// A [Dir] pins one process or one of its threads. Everything read through it belongs to that task,
// even after its number is given to another one.
//
// The rule it keeps: unknown is never "gone". [ErrGone] is returned only if the kernel answers
// ESRCH or ENOENT, or shows a state in which the task runs nothing any more. A file that is cut
// off, garbled or lacks a field is [ErrMalformed]; a field or file may be missing only if
// /proc/self lacks it, too, as on an older kernel ([ErrAbsent]). No function returns a zero value
// in place of something that it could not read.
//
// Contents are untrusted. Files of any length are read in a fixed amount of memory, piece by piece;
// names and paths are untrusted, from the process.
//
// The package decides nothing about live patches, and it neither stops nor traces anything.
package procfs
