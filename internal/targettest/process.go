package targettest

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is a running program of a test.
type Process struct {
	Cmd *exec.Cmd
	PID int
	In  io.WriteCloser // its standard input
	Out *bufio.Reader  // its standard output

	t testing.TB
}

// Start starts a program. It is killed at the end of the test, and nobody waits for it before: a
// wait would take a tracer's stops. What it prints as an error is shown unless the command has a
// place for that.
func Start(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if cmd.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &Process{Cmd: cmd, PID: cmd.Process.Pid, In: in, Out: bufio.NewReader(out), t: t}
	t.Cleanup(p.Kill)
	return p
}

// Kill kills the process, and returns when it is gone. It may be called again.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill()
	_ = p.Cmd.Wait()
}

// Wait waits for the process to end by itself, and returns its exit code; -1 if a signal ended it.
func (p *Process) Wait() int {
	p.t.Helper()
	if err := p.Cmd.Wait(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			p.t.Fatal(err)
		}
	}
	return p.Cmd.ProcessState.ExitCode()
}

// Line reads a line of what the process prints, and fails the test if it has ended.
func (p *Process) Line() string {
	p.t.Helper()
	line, err := p.Out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("%s ended after %q (%v): %s", p.Cmd, line, err, p.ending())
	}
	return strings.TrimSpace(line)
}

// Ask writes a line to the process and returns its answer.
func (p *Process) Ask(line string) string {
	p.t.Helper()
	if _, err := io.WriteString(p.In, line+"\n"); err != nil {
		p.t.Fatalf("%s ended (%v): %s", p.Cmd, err, p.ending())
	}
	return p.Line()
}

// Answers fails the test unless the process answers a line as it should.
func (p *Process) Answers(line, want string) {
	p.t.Helper()
	if got := p.Ask(line); got != want {
		p.t.Errorf("asked %q, process %d says %q, want %q", line, p.PID, got, want)
	}
}

// Ends fails the test unless a signal ends the process instead of an answer to a line.
func (p *Process) Ends(line string, by os.Signal) {
	p.t.Helper()
	_, _ = io.WriteString(p.In, line+"\n") // if it has ended before, that is seen now
	said, err := p.Out.ReadString('\n')
	if err == nil {
		p.t.Fatalf("asked %q, process %d lives, and says %q", line, p.PID, said)
	}
	p.ending()
	if s, ok := p.Cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !s.Signaled() ||
		s.Signal() != by {
		p.t.Errorf("asked %q, process %d ended with %s, want %v", line, p.PID, p.Cmd.ProcessState,
			by)
	}
}

// ending tells how a process ended that has closed its files, or will not do so.
func (p *Process) ending() string {
	late := time.AfterFunc(patience, func() { _ = p.Cmd.Process.Kill() })
	defer late.Stop()
	_ = p.Cmd.Wait()
	return p.Cmd.ProcessState.String()
}
