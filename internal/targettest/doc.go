// Package targettest makes the real processes that tests of the engines work on: it compiles C with
// gcc, starts programs, waits for what they say, packs live patches, and kills engines at any
// instant.
//
// The law it keeps: what it makes lies in one directory, which goes when a package's tests have
// run; every process that it starts ends with the test, at the latest; nothing waits for a process
// before, since a wait would take a tracer's stops.
//
// It is for tests alone, and knows nothing of what is done to the processes.
package targettest
