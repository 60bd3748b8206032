package main

import (
	"strings"

	"github.com/lpbuild/lpbuild/pkg/diag"
)

// printableLine makes the words of a process or a file safe for a terminal, on one line.
func printableLine(s string) string {
	return strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(diag.Printable(s))
}

// text is what an error says, "" for none.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// colors of libpulp's output.
const (
	red    = "\x1b[1;31m"
	green  = "\x1b[1;32m"
	yellow = "\x1b[1;33m"
	plain  = "\x1b[0m"
)

// paint puts a color around a text.
func paint(on bool, color, text string) string {
	if !on {
		return text
	}
	return color + text + plain
}
