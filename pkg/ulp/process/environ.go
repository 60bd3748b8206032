package process

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
)

// Environ returns those of the named variables that the process was started with, such as LIBPULP_DISABLE_ON_PATH; the
// first of each, as getenv(3) takes it. What the program changed since then does not show.
//
// The error is a [*LookError]: [ErrPermission], [ErrGone], [ErrChanged], [ErrNoMemory], or [ErrLimit] for an environment
// of more than 8 MiB or a wanted value of more than 128 KiB.
func (p *Process) Environ(ctx context.Context, names ...string) (map[string]string, error) {
	if p.Kernel || !p.Alive() {
		return nil, lookError(p.PID, "environ", ErrNoMemory)
	}
	names = slices.Clone(names)
	found, err := await(ctx, func() (map[string]string, error) {
		d, err := p.open()
		if err != nil {
			return nil, err
		}
		defer d.close()
		live, err := d.live(p.State)
		if err != nil {
			return nil, err
		}
		defer live.close()
		f, err := live.open("environ")
		if err != nil {
			return nil, err
		}
		defer f.close()
		found, err := parseEnviron(f, names)
		if err != nil {
			return nil, err
		}
		return found, p.verify(d)
	})
	if err != nil {
		return nil, lookError(p.PID, "environ", err)
	}
	return found, nil
}

// parseEnviron reads "NAME=VALUE" with a NUL behind each, and remembers those that are wanted.
func parseEnviron(r io.Reader, names []string) (map[string]string, error) {
	e := environ{names: names, found: make(map[string]string)}
	buf := lineBuffers.Get().(*[maxLine]byte)
	defer lineBuffers.Put(buf)
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
			e.end()
			return e.found, nil
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
}

func (e *environ) add(b []byte) error {
	for len(b) > 0 {
		part, rest, whole := bytes.Cut(b, []byte{0})
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

// begins says whether the text can be the beginning of the variable.
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
	e.text, e.skip = e.text[:0], false
}
