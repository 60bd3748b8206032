package console

import (
	"bytes"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/progress"
)

var someEvents = []progress.Event{
	{Stage: "fetch", Task: "a.rpm", Done: 0, Total: 100 << 20, Bytes: true},
	{Stage: "fetch", Task: "b\x1b[2J.rpm", Done: 50 << 20, Total: 100 << 20, Bytes: true},
	{Stage: "fetch", Note: "a note"},
	{Stage: "fetch", Note: "mind\x07 this", Warn: true},
	{Stage: "fetch", Task: "a.rpm", Total: 100 << 20, Bytes: true, Final: true},
	{Stage: "fetch", Task: "b\x1b[2J.rpm", Total: 100 << 20, Bytes: true, Final: true,
		Failed: true},
	{Stage: "pack", Task: "c.so", Final: true},
}

func play(s *Console) string {
	var out bytes.Buffer
	s.Err = &out
	for _, e := range someEvents {
		s.Progress(e)
		s.drawn = s.drawn.Add(-redraw) // the test does not wait
	}
	s.Finish()
	return out.String()
}

// TestProgressInALog checks that each finished task is one plain line.
func TestProgressInALog(t *testing.T) {
	want := "a note\nwarning: mind\\x07 this\nfetch a.rpm (100 MiB)\npack c.so\n"
	if got := play(&Console{}); got != want {
		t.Errorf("log is %q, want %q", got, want)
	}
}

// TestProgressOnATerminal checks that progress is one line that changes and disappears in the end,
// and that names cannot control the terminal.
func TestProgressOnATerminal(t *testing.T) {
	got := play(&Console{terminal: true})
	for _, want := range []string{"fetch a.rpm: 0 B of 100 MiB (0 %)",
		"and 1 more: 50 MiB of 200 MiB (25 %)", "a note\n", "warning: mind"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	if strings.Contains(got, "\x1b[2J") || strings.Contains(got, "\x07") {
		t.Errorf("a name steers the terminal: %q", got)
	}
	if !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("the status line stays: %q", got)
	}
}

func TestQuiet(t *testing.T) {
	if got := play(&Console{Quiet: true}); got != "warning: mind\\x07 this\n" {
		t.Errorf("quiet prints %q", got)
	}
}
