// Package ulpcli has the command ulp: the words, options, output and exit codes of libpulp's tool,
// for scripts that call it. The work is that of packages ulp and engine.
package ulpcli
