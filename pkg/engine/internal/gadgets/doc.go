// Package gadgets finds, in the libraries of a process, the instructions with which package tracer
// makes system calls and calls functions. Both engines find them here: package tracer knows
// instructions, but no libraries.
package gadgets
