package obs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
	"github.com/lpbuild/lpbuild/internal/shellword"
	"github.com/lpbuild/lpbuild/pkg/diag"
)

// ErrOsc means that an osc command failed.
var ErrOsc = errors.New("osc failed")

// find returns osc's path, or "" if it is not installed.
func (o Options) find() (string, error) {
	if o.Osc != "" {
		return exec.LookPath(o.Osc)
	}
	path, err := exec.LookPath("osc")
	if errors.Is(err, exec.ErrNotFound) {
		return "", nil
	}
	return path, err
}

// maxOutput bounds the part of osc's output that is kept, in bytes.
const maxOutput = 1 << 20

// output keeps the beginning of what is written to it.
type output struct{ text strings.Builder }

func (o *output) Write(p []byte) (int, error) {
	o.text.Write(p[:min(len(p), maxOutput-o.text.Len())])
	return len(p), nil
}

// command prepares osc to run in the checkout. It ends soon after ctx does.
func (c *Checkout) command(ctx context.Context, osc string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, osc, args...)
	cmd.Dir, cmd.WaitDelay = c.Dir, 5*time.Second
	return cmd
}

// run runs osc without a terminal, so that questions get no answer.
func (c *Checkout) run(ctx context.Context, osc string, args ...string) error {
	_, err := c.ask(ctx, osc, args...)
	return err
}

// ask is run, but returns osc's output.
func (c *Checkout) ask(ctx context.Context, osc string, args ...string) (string, error) {
	cmd := c.command(ctx, osc, args...)
	var out, all output
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, &all), &all
	if err := cmd.Run(); err != nil {
		return "", c.failed(ctx, err, args, all.text.String())
	}
	return out.text.String(), nil
}

// failed returns the error for a failed osc, with the end of its output.
func (c *Checkout) failed(ctx context.Context, err error, args []string, said string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	lines := strings.Split(strings.TrimSpace(said), "\n")
	last := strings.Join(lines[max(0, len(lines)-5):], "\n")
	return fmt.Errorf("%w: %s: %w\n%s\nrun it manually in %s", ErrOsc,
		shellword.Join(append([]string{"osc"}, args...)...), err,
		diag.Printable(withoutSecrets(last)), c.Dir)
}

// secret matches parts of osc's configuration that it may print in an error: passwords, and those
// in URLs.
var secret = lazyregexp.New(`(?i)(://[^/\s:@]*:)[^@\s]+@|((?:pass|passx|password|token|` +
	`authorization)\s*[=:]\s*)\S.*`)

func withoutSecrets(text string) string {
	return secret().ReplaceAllString(text,
		"${1}${2}[hidden]")
}
