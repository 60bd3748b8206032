package demo

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestProgramEnds: the test program does not outlive the demonstration, even if that fails in the
// middle.
func TestProgramEnds(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("no program is started: live patching without a preload is for x86_64")
	}
	var said bytes.Buffer
	d := &demonstration{Options: Options{Binary: "/bin/false", Out: &said}, dir: t.TempDir()}
	if err := os.CopyFS(filepath.Join(d.dir, packageName),
		os.DirFS("../../templates/scaffold/glibc")); err != nil {
		t.Fatal(err)
	}
	if err := d.live(t.Context()); err == nil || !strings.Contains(said.String(),
		"program: "+saysUnpatched) {
		t.Fatalf("%v after:\n%s", err, said.String())
	}
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if exe, err := os.Readlink(link); err == nil && strings.HasPrefix(exe, d.dir) {
			t.Errorf("%s is still there: %s", exe, link)
		}
	}
}

// TestHear wants what a program says to be shown, once it says what it should, and nothing else
// after that.
func TestHear(t *testing.T) {
	for name, tc := range map[string]struct {
		lines []string
		want  string // in the error; "": none
	}{
		"as it should":   {[]string{"old", "new", "new"}, ""},
		"and back":       {[]string{"old", "new", "old", "new"}, `says "old" again, not "new"`},
		"its end":        {[]string{"old", "new"}, "has ended"},
		"not what it is": {nil, "has ended"},
	} {
		var said bytes.Buffer
		d := &demonstration{Options: Options{Out: &said}}
		p := &program{lines: make(chan string, len(tc.lines))}
		for _, line := range tc.lines {
			p.lines <- line
		}
		close(p.lines)
		if err := d.hear(p, "new"); err == nil != (tc.want == "") || err != nil &&
			!strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		} else if err == nil && said.String() != "  program: new\n  program: new\n" {
			t.Errorf("%s: shown:\n%s", name, said.String())
		}
	}
}
