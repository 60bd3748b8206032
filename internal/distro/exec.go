package distro

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// parallel is the number of tools that run at once.
const parallel = 2

// command is one run of a tool, in an environment that has nothing of the user's but PATH.
type command struct {
	path  string
	args  []string
	dir   string   // working directory; "" means the current one
	home  string   // $HOME, so that no configuration of the user is read
	env   []string // besides PATH, HOME, LC_ALL and TZ
	stdin io.Reader
}

// run returns the tool's standard output. The error has the tool's name and the end of its
// messages.
func (c command) run(ctx context.Context) ([]byte, error) {
	cmd := exec.CommandContext(ctx, c.path, c.args...)
	cmd.Dir = c.dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.home, "LC_ALL=C", "TZ=UTC"},
		c.env...)
	cmd.Stdin = c.stdin
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	switch {
	case err == nil:
		return stdout.Bytes(), nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", filepath.Base(c.path), context.Cause(ctx))
	case errors.Is(err, exec.ErrNotFound):
		return nil, missing(c.path, err)
	}
	return nil, fmt.Errorf("%s: %w: %s", filepath.Base(c.path), err,
		tail(stderr.String()+stdout.String(), 2000))
}

// missing adds the package to install to an error.
func missing(tool string, err error) error {
	debian, suse := packagesOf(tool)
	if suse == "" {
		return fmt.Errorf("%w (Debian has it in the package %s, SUSE does not have it)", err,
			debian)
	}
	return fmt.Errorf("%w (Debian has it in the package %s, SUSE in %s)", err, debian, suse)
}

// plainPath rejects paths that RPM's macros or the shell would split or expand.
func plainPath(path string) error {
	if i := strings.IndexAny(path, " \t\n%'\"\\$`*?;&|<>(){}[]!#"); i >= 0 {
		return fmt.Errorf("directory %q: rpmbuild and rpmsign cannot handle a path with %q", path,
			path[i])
	}
	return nil
}

// packagesOf returns the packages that contain a tool.
func packagesOf(tool string) (debian, suse string) {
	switch tool {
	case "rpmbuild", "rpmsign", "rpm":
		return "rpm", "rpm-build"
	case "createrepo_c":
		return "createrepo-c", "createrepo_c"
	case "gpg", "gpgconf":
		return "gnupg", "gpg2"
	case "gpg1":
		return "gnupg1", ""
	}
	for _, t := range targets {
		if t.cross != "" && strings.HasPrefix(tool, t.cross) {
			return t.debian, t.suse
		}
	}
	return tool, tool
}

// tail returns at most the last n bytes of s, from the start of a line if possible.
func tail(s string, n int) string {
	s = strings.TrimSpace(s)
	if len(s) <= n {
		return s
	}
	s = s[len(s)-n:]
	if _, rest, found := strings.Cut(s, "\n"); found {
		s = rest
	}
	return "… " + s
}
