package manual

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRoff(t *testing.T) {
	p := Page{
		Name: "x-y", Summary: "do it", Synopsis: []string{"x y [-n N]"},
		Date: time.Date(2026, 1, 1, 23, 0, 0, 0, time.UTC),
		Text: "One <line>\n.and another.\n\n  a table  of\n  two lines\nSHORT and " +
			"text.\n\nEXIT STATUS\n  0  fine",
		Options:  []Option{{"-n", "N", "how many"}, {"--on", "", "switch it on\n'at once'"}},
		Examples: `  x y -n 1 'a\b'`, SeeAlso: []string{"x", "x-z"},
	}
	want := `.\" Written by lpbuild generate from the commands themselves.
.TH X\-Y 1 2026-01-01 lpbuild "User Commands"
.SH NAME
x\-y \- do it
.SH SYNOPSIS
.nf
\fBx y [\-n N]\fR
.fi
.SH DESCRIPTION
One <line>
\&.and another.
.PP
.RS 2
.nf
a table  of
two lines
.fi
.RE
SHORT and text.
.SH OPTIONS
.TP
\fB\-n\fR \fIN\fR
how many
.TP
\fB\-\-on\fR
switch it on
\(aqat once\(aq
.SH EXIT STATUS
.RS 2
.nf
0  fine
.fi
.RE
.SH EXAMPLES
.RS 2
.nf
x y \-n 1 \(aqa\eb\(aq
.fi
.RE
.SH SEE ALSO
.BR x (1),
.BR x\-z (1)
`
	if d := cmp.Diff(want, string(p.Roff())); d != "" {
		t.Errorf("Roff (-want +got):\n%s", d)
	}
}

func TestIsHeading(t *testing.T) {
	for line, want := range map[string]bool{"EXIT STATUS": true, " EXIT": false, "Exit": false,
		"A": false, "": false, "CVE-1": false, "FILES\n": true} {
		if isHeading(line) != want {
			t.Errorf("isHeading(%q) is not %t", line, want)
		}
	}
}
