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

// ErrOsc says that osc did not do what it was asked to.
var ErrOsc = errors.New("osc failed")

// find returns osc's path, "" if it is not here.
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

// maxOutput is how much of osc's output is kept, in bytes.
const maxOutput = 1 << 20

// output keeps the beginning of what is written.
type output struct{ text strings.Builder }

func (o *output) Write(p []byte) (int, error) {
	o.text.Write(p[:min(len(p), maxOutput-o.text.Len())])
	return len(p), nil
}

// command is osc in the checkout. It ends soon after ctx does.
func (c *Checkout) command(ctx context.Context, osc string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, osc, args...)
	cmd.Dir, cmd.WaitDelay = c.Dir, 5*time.Second
	return cmd
}

// run runs osc without a terminal: a question is answered by its end.
func (c *Checkout) run(ctx context.Context, osc string, args ...string) error {
	_, err := c.ask(ctx, osc, args...)
	return err
}

// ask is run; it returns what osc prints.
func (c *Checkout) ask(ctx context.Context, osc string, args ...string) (string, error) {
	cmd := c.command(ctx, osc, args...)
	var out, all output
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, &all), &all
	if err := cmd.Run(); err != nil {
		return "", c.failed(ctx, err, args, all.text.String())
	}
	return out.text.String(), nil
}

// failed is the error of an osc that failed; what it printed last says why.
func (c *Checkout) failed(ctx context.Context, err error, args []string, said string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	lines := strings.Split(strings.TrimSpace(said), "\n")
	last := strings.Join(lines[max(0, len(lines)-5):], "\n")
	return fmt.Errorf("%w: %s: %w\n%s\nrun it by hand in %s", ErrOsc, shellword.Join(append([]string{"osc"}, args...)...), err,
		diag.Printable(withoutSecrets(last)), c.Dir)
}

// secret is what osc may print of its configuration in an error: passwords, and those in URLs.
var secret = lazyregexp.New(`(?i)(://[^/\s:@]*:)[^@\s]+@|((?:pass|passx|password|token|authorization)\s*[=:]\s*)\S.*`)

func withoutSecrets(text string) string { return secret().ReplaceAllString(text, "${1}${2}[hidden]") }
