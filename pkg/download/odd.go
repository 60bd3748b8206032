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

// OddBuild is a build that the repositories vouch for, and of which no live patch can be made.
type OddBuild struct {
	Name    string // as [Build.NEVRA] writes it
	Version string // epoch, version and release, as "builds" in lpbuild.yaml takes them
	Err     error
}

// Hint says how to go on without the build.
func (o *OddBuild) Hint() string {
	return fmt.Sprintf("leave it out with builds: \"!= %s\" of its package in lpbuild.yaml", o.Version)
}

// oddError marks what is wrong with one build and says nothing of the others. It says nothing itself.
type oddError struct{ err error }

func (e *oddError) Error() string { return e.err.Error() }
func (e *oddError) Unwrap() error { return e.err }

// odd marks err as a property of the build, unless it is one of the run (no space is left, the user has had enough) or of
// the trust in what was fetched: these are no build's own.
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

// join makes one error of what is wrong with builds.
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

// hintedError is an error in other words.
type hintedError struct {
	text string
	err  error
}

func (e *hintedError) Error() string { return e.text }
func (e *hintedError) Unwrap() error { return e.err }
