package download

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
)

// OddBuild is a build that the repositories vouch for, but for which no live patch can be made.
type OddBuild struct {
	Name    string // as [Build.NEVRA] writes it
	Version string // epoch, version and release, as "builds" in lpbuild.yaml takes them
	Err     error
}

// Hint tells how to exclude the build.
func (o *OddBuild) Hint() string {
	return fmt.Sprintf("exclude it with builds: \"!= %s\" for its package in lpbuild.yaml",
		o.Version)
}

// oddError marks an error of one build that says nothing about the others. It adds no text of its
// own.
type oddError struct{ err error }

func (e *oddError) Error() string { return e.err.Error() }
func (e *oddError) Unwrap() error { return e.err }

// odd marks err as a property of the build, unless it belongs to the run (the disk is full, the
// user cancelled) or to the trust in what was fetched.
func odd(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, pgp.ErrBadSignature) || errors.Is(err, digest.ErrMismatch) {
		return err
	}
	if _, is := errors.AsType[*fs.PathError](err); is {
		return err
	}
	if _, is := errors.AsType[syscall.Errno](err); is {
		return err
	}
	if _, is := errors.AsType[*unlistedError](err); is {
		return err
	}
	return &oddError{err}
}

// join combines the errors of odd builds into one.
func join(odds []OddBuild) error {
	var errs []error
	for _, o := range odds {
		text := o.Err.Error()
		if !strings.Contains(text, o.Name) {
			text = o.Name + ": " + text
		}
		errs = append(errs, &hintedError{text + ": " + o.Hint(), o.Err})
	}
	return errors.Join(errs...)
}

// hintedError replaces the text of an error.
type hintedError struct {
	text string
	err  error
}

func (e *hintedError) Error() string { return e.text }
func (e *hintedError) Unwrap() error { return e.err }
