package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A tool that is killed while it replaces a file leaves the old or the new one. The tests kill
// packer and post as soon as anything changes in the file's directory, and after increasing delays.
func TestUlpKilledWhileWriting(t *testing.T) {
	dir := t.TempDir()
	compile := func(out, text string) {
		t.Helper()
		source := filepath.Join(t.TempDir(), "a.c")
		write(t, source, text, 0o644)
		cmd := exec.Command("gcc", "-O2", "-fPIC", "-shared", "-fpatchable-function-entry=16,14",
			"-Wl,--build-id=sha1", "-o", filepath.Join(dir, out), source)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("gcc: %v\n%s", err, out)
		}
	}
	const large = "char ballast[8 << 20] = {1};\n" // so that writing takes a while
	compile("libt.so.1", "int answer(void) { return 42; }\n")
	compile("p.so", large+"int answer_lp(void) { return 43; }\n")
	write(t, filepath.Join(dir, "p.dsc"), "p.so\n@libt.so.1\nanswer:answer_lp\n", 0o644)
	for _, args := range [][]string{{"packer", "-q", "p.dsc"}, {"post", "p.so"}} {
		path := filepath.Join(dir, "p.so")
		before := mustRead(t, path)
		if out, err := ulpIn(dir, args...).CombinedOutput(); err != nil {
			t.Fatalf("ulp %v: %v\n%s", args, err, out)
		}
		after := mustRead(t, path)
		if bytes.Equal(before, after) {
			t.Fatalf("ulp %v changed nothing", args)
		}
		seen := map[string]int{}
		for n := range 12 {
			write(t, path, string(before), 0o755)
			killWhileWriting(t, dir, time.Duration(n)*time.Millisecond, args)
			switch now := mustRead(t, path); {
			case bytes.Equal(now, before):
				seen["old"]++
			case bytes.Equal(now, after):
				seen["new"]++
			default:
				t.Fatalf("ulp %v, killed: %d bytes are neither the %d of before nor the %d of "+
					"after", args, len(now), len(before), len(after))
			}
		}
		t.Logf("ulp %v: %v", args, seen)
	}
}

// killWhileWriting runs ulp and kills it after the delay when a temporary file appears or the file
// itself changes.
func killWhileWriting(t *testing.T, dir string, delay time.Duration, args []string) {
	t.Helper()
	path := filepath.Join(dir, "p.so")
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	cmd := ulpIn(dir, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // that it was killed is no error
		close(ended)
	}()
	for changed := false; !changed; {
		select {
		case <-ended:
			changed = true
		default:
			temporary, _ := filepath.Glob(filepath.Join(dir, ".p.so.*"))
			now, err := os.Stat(path)
			changed = len(temporary) > 0 || err != nil || now.Size() != before.Size() ||
				!now.ModTime().Equal(before.ModTime())
		}
	}
	time.Sleep(delay)
	_ = cmd.Process.Kill() // it may have ended
	<-ended
	temporary, _ := filepath.Glob(filepath.Join(dir, ".p.so.*"))
	for _, name := range temporary {
		_ = os.Remove(name)
	}
}

func ulpIn(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command("ulp", args...)
	cmd.Dir = dir
	return cmd
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(content), 0o644),
		os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}
