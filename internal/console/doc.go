// Package console is what our programs share between main and the commands: where output goes, how
// progress is shown, help, the errors of a command line, and exit codes.
//
// A [Program] runs one command line. Commands get a [Console], print results on it, and return
// errors; only this package prints errors and turns them into exit codes.
package console
