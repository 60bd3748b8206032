package glibctest

import (
	"bufio"
	"io"
	"maps"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/internal/targettest"
)

// original maps the questions that testdata/target.c answers to the answers of an unpatched glibc;
// patched has those of the live patches. They differ in the last bit of a random number.
var (
	original = map[string]string{
		"malloc": "glibc", "memcpy": "is memcpy patched?", "static": "Thu Jan  1 00:00:00 1970",
		"variable": "1045618677", "threadlocal": "24 24", "mutex": "original",
	}
	patched = map[string]string{
		"malloc": "glibc-livepatch", "memcpy": "is memcpy patched!", "static": "patched",
		"variable": "1045618676", "threadlocal": "3 5", "mutex": "patched",
	}
)

// hammerThreads is the number of threads that lock one mutex while the program is patched.
const hammerThreads = 64

// program is a running testdata/target.c.
type program struct {
	pid string
	in  io.Writer
	out *bufio.Reader
}

// start starts the program on the loader and libc of a build, which its file names.
func (w *world) start(t *testing.T, build int, env ...string) *program {
	t.Helper()
	cmd := exec.Command(w.targets[build])
	cmd.Env = append(os.Environ(), env...)
	return run(t, cmd)
}

// startByLoader starts the program as people try out a library: with the loader, which is told
// where libc is.
func (w *world) startByLoader(t *testing.T, build int) *program {
	t.Helper()
	b := w.builds[build]
	return run(t, exec.Command(b.Loader, "--library-path", b.Dir,
		w.targets[(build+1)%len(w.targets)]))
}

// run starts the program and all its threads. It ends with the test.
func run(t *testing.T, cmd *exec.Cmd) *program {
	t.Helper()
	started := targettest.Start(t, cmd)
	p := &program{pid: strconv.Itoa(started.PID), in: started.In, out: started.Out}
	if got := p.line(t); got != "ready" {
		t.Fatalf("the program says %q", got)
	}
	if got, want := p.ask(t, "hammer "+strconv.Itoa(hammerThreads)), strconv.Itoa(hammerThreads)+
		" threads"; got != want {
		t.Fatalf("the program says %q, want %q", got, want)
	}
	return p
}

func (p *program) line(t *testing.T) string {
	t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the program ended: %v, after %q", err, line)
	}
	return strings.TrimSpace(line)
}

// ask returns the program's answer to a question.
func (p *program) ask(t *testing.T, question string) string {
	t.Helper()
	if _, err := io.WriteString(p.in, question+"\n"); err != nil {
		t.Fatal(err)
	}
	return p.line(t)
}

// wants asks all questions. Those in applied must be answered as patched.
func (p *program) wants(t *testing.T, applied ...string) {
	t.Helper()
	want := maps.Clone(original)
	for _, question := range applied {
		want[question] = patched[question]
	}
	for _, question := range patches {
		if got := p.ask(t, question); got != want[question] {
			t.Errorf("with %v applied: %s: %q, want %q", applied, question, got, want[question])
		}
	}
	// __memcpy_chk has no jump at its end: it falls through the NOPs before memcpy, and executes
	// what is there.
	if got := p.ask(t, "memcpy_chk"); got != want["memcpy"] {
		t.Errorf("with %v applied: code that falls through to memcpy answers %q, want %q", applied,
			got, want["memcpy"])
	}
}
