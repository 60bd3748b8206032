package console

import (
	"strings"

	"github.com/lpbuild/lpbuild/pkg/diag"
)

// PrintableLine makes text from a process or a file safe for a terminal, on one line.
func PrintableLine(s string) string {
	return strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(diag.Printable(s))
}

// ErrorText returns the text of an error, "" for nil.
func ErrorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// colors of libpulp's output.
const (
	Red    = "\x1b[1;31m"
	Green  = "\x1b[1;32m"
	Yellow = "\x1b[1;33m"
	plain  = "\x1b[0m"
)

// Paint puts a color around a text.
func Paint(on bool, color, text string) string {
	if !on {
		return text
	}
	return color + text + plain
}
