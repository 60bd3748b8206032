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

// tool is one run of a program without the user's environment: configure rejects some settings of
// users, and a user's own compiler or python would build another library.
type tool struct {
	dir  string   // working directory
	env  []string // besides PATH, HOME, LC_ALL and TZ
	args []string
	log  io.Writer // optional; also gets the tool's standard output
}

const toolPath = "/usr/sbin:/usr/bin:/sbin:/bin"

// run returns the tool's standard output. The error has the end of its output.
func (c tool) run(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "/usr/bin/env",
		append([]string{"-i", "PATH=" + toolPath, "HOME=/nonexistent", "LC_ALL=C", "TZ=UTC"},
			append(c.env, c.args...)...)...)
	cmd.Dir = c.dir
	var stdout bytes.Buffer
	said := &ending{}
	cmd.Stderr = said
	cmd.Stdout = io.MultiWriter(said, &stdout)
	if c.log != nil {
		cmd.Stdout = io.MultiWriter(said, &stdout, c.log)
	}
	// The tool stays in the terminal's process group, so that ^C ends make, too, and is not ended
	// by SIGKILL, so that make ends its children.
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
		return "", fmt.Errorf("%s is missing: \"make test-glibc\" installs it: %s", c.name(), said)
	}
	return "", fmt.Errorf("%s: %w: %s", c.name(), err, said)
}

// name is the program's name without its directory.
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
