package main

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTutorial runs docs/tutorial.md from top to bottom, in one shell of a machine of its own, on
// which lpbuild's RPM is installed: each block is either a file, which is written, or commands,
// which are run and compared with what they print. The processes that the page starts are real, and
// say what code they run.
func TestTutorial(t *testing.T) {
	text, err := os.ReadFile("../../docs/tutorial.md")
	check(t, err)
	for _, b := range readBlocks(string(text)) {
		if b.file == "" && b.kind != "console" {
			t.Errorf("tutorial.md:%d: this block is neither a file nor commands: nothing would "+
				"test it", b.line)
		}
	}
	steps := readSteps(t, "tutorial.md", string(text))
	dir := enter(t, usePackages)
	if dir == "" {
		return
	}
	s := newSystem(t, dir, "machine")
	check(t, unix.Mount("tmpfs", s.path("/tmp"), "tmpfs", 0, ""))
	check(t, os.MkdirAll(s.path("/home/jane"), 0o755))
	installTools(t, s, dir)
	sh := newShell(t, s)
	for _, step := range steps {
		sh.walk(t, "docs/tutorial.md", step)
	}
	if n := strings.Count(string(text), "\n## "); len(steps) < 3*n {
		t.Errorf("%d steps in %d sections: are the blocks still found?", len(steps), n)
	}
}
