package obs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/spec"
)

// ErrNotReady means that a checkout does not have what would have to be submitted.
var ErrNotReady = errors.New("the checkout is not ready to be submitted")

// Request is a maintenance request, which asks to take a package into an incident.
type Request struct {
	Message         string // what is fixed, for the reviewers
	ReleaseProject  string // project for the release; "" means where the package was branched from
	Incident        string // number of an incident to merge into; "" means a new one
	IncidentProject string // project to ask; "" means the service's default
	Supersede       string // number of a request that this one replaces
	NoCleanup       bool   // keep the source project when the request is accepted
}

// Args returns osc's arguments.
func (c *Checkout) Args(r Request) ([]string, error) {
	args := []string{"maintenancerequest"}
	for _, o := range []struct{ option, value string }{
		{"--incident-project", r.IncidentProject}, {"--incident", r.Incident},
		{"--supersede", r.Supersede},
	} {
		if o.value == "" {
			continue
		}
		if !isWord(o.value) {
			return nil, fmt.Errorf("%s: %q is not a name that the service accepts", o.option,
				o.value)
		}
		args = append(args, o.option+"="+o.value)
	}
	if r.NoCleanup {
		args = append(args, "--no-cleanup")
	}
	if strings.TrimSpace(r.Message) == "" || strings.ContainsRune(r.Message, 0) {
		return nil, errors.New("the message is empty: say what is fixed")
	}
	args = append(args, "--message="+r.Message)
	if r.ReleaseProject == "" {
		return append(args, "."), nil
	}
	if !isWord(r.ReleaseProject) {
		return nil, fmt.Errorf("release project: %q is not a name that the service accepts",
			r.ReleaseProject)
	}
	return append(args, c.Project, c.Package, r.ReleaseProject), nil
}

// Check rejects a checkout that is not what dist last wrote, is not committed, or is not what the
// service has any more: a request is about the service's files. It asks osc, and through osc the
// service.
func (c *Checkout) Check(ctx context.Context, d *spec.Dist, o Options) error {
	names, err := c.checkFiles(d)
	if err != nil {
		return err
	}
	osc, err := o.needed()
	if err != nil {
		return err
	}
	status, err := c.ask(ctx, osc, "status")
	if err != nil {
		return err
	}
	var changes []string
	for line := range strings.Lines(status) {
		if !strings.HasPrefix(line, "?") { // a file that the service will never see
			changes = append(changes, strings.TrimSpace(line))
		}
	}
	if len(changes) > 0 {
		return fmt.Errorf("%w: it has uncommitted changes:\n%s\nrun: osc commit", ErrNotReady,
			diag.Printable(strings.Join(changes, "\n")))
	}
	return c.checkCurrent(ctx, osc, names)
}

// CheckDist rejects a package that has no source package yet.
func CheckDist(d *spec.Dist, checkout string) error {
	for _, path := range []string{d.Archive, d.Changes, d.Rpmlintrc, d.Spec} {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: there is no %s: run lpbuild dist --obs %s", ErrNotReady, path,
				checkout)
		}
	}
	return nil
}

// checkFiles rejects a checkout that is not what dist last wrote, and returns the names of the
// files.
func (c *Checkout) checkFiles(d *spec.Dist) ([]string, error) {
	if err := CheckDist(d, c.Dir); err != nil {
		return nil, err
	}
	var names []string
	for _, path := range []string{d.Archive, d.Changes, d.Rpmlintrc, d.Spec} {
		names = append(names, filepath.Base(path))
		want, err := regularfile.Read(path, maxFile)
		if err != nil {
			return nil, err
		}
		got, err := c.read(filepath.Base(path))
		if err != nil || !bytes.Equal(want, got) {
			return nil, fmt.Errorf("%w: %s is not what lpbuild dist wrote: run lpbuild dist "+
				"--obs %s", ErrNotReady, filepath.Join(c.Dir, filepath.Base(path)), c.Dir)
		}
	}
	return names, nil
}

// requestNumber matches the end of osc's output, the number of the new request.
var requestNumber = lazyregexp.New(`(?m)^([0-9]+)\s*\z`)

// Submit makes the request and returns its number. osc's output goes to w as it comes, and in
// answers osc's questions; if in is nil, osc gives up at the first question.
func (c *Checkout) Submit(ctx context.Context, r Request, o Options, in *os.File,
	w io.Writer) (string, error) {
	args, err := c.Args(r)
	if err != nil {
		return "", err
	}
	osc, err := o.needed()
	if err != nil {
		return "", err
	}
	cmd := c.command(ctx, osc, args...)
	if in != nil {
		cmd.Stdin = in
	}
	var out, all output
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, &all, w), &all
	if err := cmd.Run(); err != nil {
		return "", c.failed(ctx, err, args, all.text.String())
	}
	number := requestNumber().FindStringSubmatch(strings.TrimSpace(out.text.String()))
	if number == nil {
		return "", nil
	}
	return number[1], nil
}

// needed is find for callers that need osc.
func (o Options) needed() (string, error) {
	osc, err := o.find()
	if err == nil && osc == "" {
		err = errors.New("osc is not installed, or not in $PATH: it is needed to talk to the " +
			"build service")
	}
	return osc, err
}
