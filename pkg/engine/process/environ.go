package process

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// Environ returns those of the named variables that the process was started with, such as
// LIBPULP_DISABLE_ON_PATH; the first of each, as getenv(3) takes it. What the program changed since
// then does not show, except that it may have overwritten that memory, as those do that show their
// work as their command line (setproctitle): whole is false then, and [Memory.Environ] is where the
// variables went.
//
// The error is a [*LookError]: [ErrPermission], [ErrGone], [ErrChanged], [ErrNoMemory], or
// [ErrLimit] for an environment of more than 8 MiB or a wanted value of more than 128 KiB.
func (p *Process) Environ(ctx context.Context, names ...string) (found map[string]string,
	whole bool, err error) {
	if p.Kernel || !p.Alive() {
		return nil, false, lookError(p.PID, "environ", ErrNoMemory)
	}
	names = slices.Clone(names)
	e, err := await(ctx, func() (*environ, error) {
		d, err := p.openUnverified()
		if err != nil {
			return nil, err
		}
		defer d.Close()
		live, err := d.live(p.State)
		if err != nil {
			return nil, err
		}
		defer live.Close()
		f, err := live.Open("environ", procfs.ReadOnly)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		found, err := parseEnviron(f, names)
		if err != nil {
			return nil, err
		}
		return found, p.verify(d)
	})
	if err != nil {
		return nil, false, lookError(p.PID, "environ", err)
	}
	return e.found, !e.broken, nil
}

// parseEnviron reads "NAME=VALUE" with a NUL after each, and remembers those that are wanted.
func parseEnviron(r io.Reader, names []string) (*environ, error) {
	e := &environ{names: names, found: make(map[string]string)}
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	for total := 0; ; {
		n, err := r.Read(buf[:])
		if total += n; total > maxEnviron {
			return nil, ErrLimit
		}
		if addErr := e.add(buf[:n]); addErr != nil {
			return nil, addErr
		}
		switch {
		case errors.Is(err, io.EOF):
			if e.begun {
				e.end()
			}
			return e, nil
		case err != nil:
			return nil, err
		}
	}
}

type environ struct {
	names []string
	found map[string]string
	text  []byte // the variable so far, while it can still be a wanted one
	skip  bool   // it cannot
	begun bool   // there is something after the last NUL
	named bool   // with a name before a "="

	broken bool // there was something else than variables
}

func (e *environ) add(b []byte) error {
	for len(b) > 0 {
		part, rest, whole := bytes.Cut(b, []byte{0})
		e.named = e.named || bytes.IndexByte(part, '=') >= 0
		e.begun = e.begun || len(part) > 0
		if !e.skip {
			e.text = append(e.text, part...)
			e.skip = !slices.ContainsFunc(e.names, e.begins)
		}
		if len(e.text) > maxVariable {
			return ErrLimit
		}
		if whole {
			e.end()
		}
		b = rest
	}
	return nil
}

// begins reports whether the text can be the beginning of the variable.
func (e *environ) begins(name string) bool {
	n := min(len(name), len(e.text))
	return name[:n] == string(e.text[:n]) && (len(e.text) <= len(name) || e.text[len(name)] == '=')
}

func (e *environ) end() {
	if name, value, ok := bytes.Cut(e.text, []byte{'='}); ok && !e.skip {
		if _, twice := e.found[string(name)]; !twice {
			e.found[string(name)] = string(value)
		}
	}
	e.broken = e.broken || !e.named
	e.text, e.skip, e.begun, e.named = e.text[:0], false, false, false
}
