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

// ErrNotReady says that a checkout is not what would have to be submitted.
var ErrNotReady = errors.New("the checkout is not ready to be submitted")

// Request is a maintenance request: the question to take a package into an incident.
type Request struct {
	Message         string // what is fixed, for those who review it
	ReleaseProject  string // where the update is to be released; "": where the package was branched from
	Incident        string // number of an incident to be merged into; "": a new one
	IncidentProject string // project to ask; "": the service's default
	Supersede       string // number of a request that this one is instead of
	NoCleanup       bool   // keep the source project when the request is accepted
}

// Args returns osc's arguments.
func (c *Checkout) Args(r Request) ([]string, error) {
	args := []string{"maintenancerequest"}
	for _, o := range []struct{ option, value string }{
		{"--incident-project", r.IncidentProject}, {"--incident", r.Incident}, {"--supersede", r.Supersede},
	} {
		if o.value == "" {
			continue
		}
		if !isWord(o.value) {
			return nil, fmt.Errorf("%s: %q is no name that the service takes", o.option, o.value)
		}
		args = append(args, o.option+"="+o.value)
	}
	if r.NoCleanup {
		args = append(args, "--no-cleanup")
	}
	if strings.TrimSpace(r.Message) == "" || strings.ContainsRune(r.Message, 0) {
		return nil, errors.New("there is no message: say what is fixed")
	}
	args = append(args, "--message="+r.Message)
	if r.ReleaseProject == "" {
		return append(args, "."), nil
	}
	if !isWord(r.ReleaseProject) {
		return nil, fmt.Errorf("release project: %q is no name that the service takes", r.ReleaseProject)
	}
	return append(args, c.Project, c.Package, r.ReleaseProject), nil
}

// Check refuses a checkout that is not what dist wrote last, that is not committed, or that is not what the service has any
// more: a request is about what the service has. It asks osc, and by it the service.
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
		return fmt.Errorf("%w: it has changes that are not committed:\n%s\nrun: osc commit", ErrNotReady, diag.Printable(strings.Join(changes, "\n")))
	}
	return c.checkCurrent(ctx, osc, names)
}

// CheckDist refuses a package of which there is no source package yet.
func CheckDist(d *spec.Dist, checkout string) error {
	for _, path := range []string{d.Archive, d.Changes, d.Rpmlintrc, d.Spec} {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: there is no %s: run lpbuild dist --obs %s", ErrNotReady, path, checkout)
		}
	}
	return nil
}

// checkFiles refuses a checkout that is not what dist wrote last, and returns the names of the files.
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
			return nil, fmt.Errorf("%w: %s is not what lpbuild dist wrote: run lpbuild dist --obs %s", ErrNotReady, filepath.Join(c.Dir, filepath.Base(path)), c.Dir)
		}
	}
	return names, nil
}

// requestNumber is how osc ends: with the number of what it made.
var requestNumber = lazyregexp.New(`(?m)^([0-9]+)\s*\z`)

// Submit makes the request and returns its number. What osc says goes to w as it comes, questions of osc are answered by
// in; nil: not at all, and osc gives up.
func (c *Checkout) Submit(ctx context.Context, r Request, o Options, in *os.File, w io.Writer) (string, error) {
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

// needed is find where nothing works without osc.
func (o Options) needed() (string, error) {
	osc, err := o.find()
	if err == nil && osc == "" {
		err = errors.New("osc is not installed, or not in $PATH: it is what speaks to the build service")
	}
	return osc, err
}
