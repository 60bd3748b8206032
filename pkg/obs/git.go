package obs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/lpbuild/lpbuild/internal/shellword"
	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/spec"
)

// ErrGit means that a git command failed.
var ErrGit = errors.New("git failed")

// isGit reports whether a directory is the top of a git work tree.
func isGit(dir string) (bool, error) {
	_, err := os.Lstat(filepath.Join(dir, ".git")) // it is a file in a submodule and a worktree
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// openGit lists the files in git's index.
func openGit(ctx context.Context, dir string) (*Checkout, error) {
	if _, err := os.Lstat(filepath.Join(dir, "lpbuild.yaml")); err == nil {
		return nil, fmt.Errorf("%s: %w: it has lpbuild.yaml: the source package needs a "+
			"repository of its own", dir, ErrNoCheckout)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	c := &Checkout{Dir: dir, Git: true, Package: filepath.Base(abs), tracked: map[string]bool{}}
	out, err := c.git(ctx, "ls-files", "-z")
	if err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(out, "\x00") {
		if name != "" && !strings.Contains(name, "/") {
			c.tracked[name] = true
		}
	}
	return c, nil
}

// git runs git in the checkout and returns its output.
func (c *Checkout) git(ctx context.Context, args ...string) (string, error) {
	cmd := c.command(ctx, "git", args...)
	for _, v := range os.Environ() { // set by a hook that runs this program: another repository
		if !strings.HasPrefix(v, "GIT_DIR=") && !strings.HasPrefix(v, "GIT_WORK_TREE=") &&
			!strings.HasPrefix(v, "GIT_INDEX_FILE=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	var out, errs output
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	switch {
	case err == nil:
		return out.text.String(), nil
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("%s is a git repository: %w: %w", c.Dir, ErrGit, err)
	}
	return "", fmt.Errorf("%w: %s: %w\n%s\nrun it manually in %s", ErrGit,
		shellword.Join(append([]string{"git"}, args...)...), err,
		diag.Printable(withoutSecrets(strings.TrimSpace(errs.text.String()))), c.Dir)
}

// registerGit stages new, changed and removed files.
func (c *Checkout) registerGit(ctx context.Context, u *Update, obsolete []string) error {
	if len(obsolete) > 0 {
		if _, err := c.git(ctx, append([]string{"rm", "--quiet", "--force", "--"},
			obsolete...)...); err != nil {
			return err
		}
	}
	names := append(append([]string{"add", "--"}, u.Added...), u.Changed...)
	if len(names) == 2 {
		return nil
	}
	_, err := c.git(ctx, names...)
	return err
}

// GitCommands returns the commands that request an update from a git checkout: git pushes the
// branch, and osc's git-obs opens the pull request. It rejects what [Checkout.Check] rejects, but
// does not ask the service.
func (c *Checkout) GitCommands(ctx context.Context, d *spec.Dist, r Request) ([]string, error) {
	if r.Incident != "" || r.Supersede != "" {
		return nil, fmt.Errorf("%s is a git repository: incidents and requests to supersede "+
			"belong to the service's own checkouts", c.Dir)
	}
	if strings.TrimSpace(r.Message) == "" || strings.ContainsRune(r.Message, 0) {
		return nil, errors.New("the message is empty: say what is fixed")
	}
	if _, err := c.checkFiles(d); err != nil {
		return nil, err
	}
	status, err := c.git(ctx, "status", "--porcelain", "--untracked-files=no")
	if err != nil {
		return nil, err
	}
	if status = strings.TrimRight(status, "\n"); status != "" {
		return nil, fmt.Errorf("%w: it has uncommitted changes:\n%s\nrun: git commit", ErrNotReady,
			diag.Printable(status))
	}
	branch, err := c.git(ctx, "symbolic-ref", "--quiet", "--short", "HEAD")
	if err != nil {
		return nil, fmt.Errorf("%w: no branch is checked out: %w", ErrNotReady, err)
	}
	return []string{
		shellword.Join("git", "push", "origin", strings.TrimSpace(branch)),
		shellword.Join("git-obs", "pr", "create", "--title=Update "+
			strings.TrimSuffix(filepath.Base(d.Spec), ".spec"), "--description="+r.Message),
	}, nil
}
