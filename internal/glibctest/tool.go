package glibctest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// tool is one run of a program with nothing of the user's environment in it: configure refuses some of what a user may have
// set, and a compiler or a python of the user's own would make another library.
type tool struct {
	dir  string   // working directory
	env  []string // beside PATH, HOME, LC_ALL and TZ
	args []string
	log  io.Writer // also gets what the tool prints on standard output; optional
}

const toolPath = "/usr/sbin:/usr/bin:/sbin:/bin"

// run returns what the tool printed on standard output. The error has the end of all that it said.
func (c tool) run(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "/usr/bin/env", append([]string{"-i", "PATH=" + toolPath, "HOME=/nonexistent", "LC_ALL=C", "TZ=UTC"},
		append(c.env, c.args...)...)...)
	cmd.Dir = c.dir
	var stdout bytes.Buffer
	said := &ending{}
	cmd.Stderr = said
	cmd.Stdout = io.MultiWriter(said, &stdout)
	if c.log != nil {
		cmd.Stdout = io.MultiWriter(said, &stdout, c.log)
	}
	// In the terminal's own process group, so that ^C ends make, too, and not told by SIGKILL: make ends its children.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	exit, missing := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return stdout.String(), nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("%s: %w", c.name(), context.Cause(ctx))
	case missing && exit.ExitCode() == 127:
		return "", fmt.Errorf("%s is not there: \"make test-glibc\" installs it: %s", c.name(), said)
	}
	return "", fmt.Errorf("%s: %w: %s", c.name(), err, said)
}

// name is the program's name without its folder.
func (c tool) name() string { return filepath.Base(c.args[0]) }

// ending keeps the end of what is written to it, from both outputs at once.
type ending struct {
	mu   sync.Mutex
	text []byte
}

const endingSize = 3000

func (e *ending) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.text = append(e.text, p...)
	if len(e.text) > 2*endingSize {
		e.text = append(e.text[:0], e.text[len(e.text)-endingSize:]...)
	}
	return len(p), nil
}

func (e *ending) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	text := e.text[max(0, len(e.text)-endingSize):]
	return strings.TrimSpace(string(text))
}
