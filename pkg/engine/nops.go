package engine

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"path"
	"slices"
	"sync"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// nopCache remembers which files have functions that can be replaced, since looking reads their
// whole code. What one process shows must not decide about another user's: the user is part of the
// key.
type nopCache struct{ m sync.Map }

type nopKey struct {
	file    rtld.FileID
	buildID string
	uid     uint32
}

// patchable reports whether a library has a function that can be replaced, or is.
func (c *nopCache) patchable(ctx context.Context, v *View, l *rtld.Library) (bool, error) {
	if l.Problem != nil || l.Class != elf.ELFCLASS64 {
		return false, nil
	}
	key := nopKey{l.File, string(l.BuildID), v.Process.UID.Real}
	if known, ok := c.m.Load(key); ok {
		return known.(bool), nil
	}
	ok, err := hasNOPs(ctx, v.Memory, l)
	switch {
	case err == nil:
	case errors.Is(err, process.ErrMalformed), errors.Is(err, process.ErrUnreadable),
		errors.Is(err, process.ErrLimit),
		errors.Is(err, symtab.ErrUnsupported):
		return false, nil // this library only; another process may show more
	default:
		return false, err
	}
	if l.File != (rtld.FileID{}) {
		c.m.Store(key, ok)
	}
	return ok, nil
}

// Bounds of looking into one library.
const (
	maxCode   = 256 << 20 // bytes of code
	codeChunk = 256 << 10 // read at once
	maxLooks  = 8000      // functions
)

// hasNOPs reports whether a function that others can call begins as -fpatchable-function-entry
// makes it. Most libraries have no such NOPs anywhere, which is found out quickly; in others a
// function decides.
func hasNOPs(ctx context.Context, m *process.Memory, l *rtld.Library) (bool, error) {
	arch, err := symtab.ArchOf(l.Machine)
	if err != nil {
		return false, err
	}
	run, ok := nopRuns[arch]
	if !ok {
		return false, nil
	}
	if found, err := holds(ctx, m, l, run); err != nil || !found {
		return false, err
	}
	symbols, err := m.Symbols(ctx, l)
	if err != nil {
		return false, err
	}
	looks := 0
	for s, err := range symbols.All(ctx) {
		if err != nil {
			return false, err
		}
		if s.Type != elf.STT_FUNC {
			continue
		}
		if looks++; looks > maxLooks {
			break
		}
		p, err := m.Prologue(ctx, s.Addr, arch)
		if err == nil && (p.State != process.EntryUnknown || p.Stale != 0 || isProbed(p, run)) {
			return true, nil
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
	}
	return false, nil
}

// isProbed reports whether an entry has the NOPs of a function that can be replaced, and a
// breakpoint over the first of those at its symbol: it could be replaced if there were no probe.
func isProbed(p *process.Prologue, run []byte) bool {
	at := bytes.TrimPrefix(p.After, []byte(endbr64))
	return bytes.HasSuffix(p.Before, run) && len(at) > 0 && at[0] == breakpoint && run[0] == 0x90
}

// nopRuns are the NOPs before a function that can be replaced.
var nopRuns = map[symtab.Arch][]byte{
	symtab.X86_64:  bytes.Repeat([]byte{0x90}, 14),
	symtab.PPC64LE: bytes.Repeat([]byte{0, 0, 0, 0x60}, 13),
}

// holds searches the code of a library.
func holds(ctx context.Context, m *process.Memory, l *rtld.Library, run []byte) (bool, error) {
	buf := make([]byte, codeChunk)
	read := uint64(0)
	for _, s := range l.Segments {
		if s.Perm&rtld.PermExec == 0 {
			continue
		}
		for addr := s.Start; addr < s.End; {
			n := min(s.End-addr, codeChunk)
			got, err := m.ReadAt(ctx, buf[:n], addr)
			if err != nil && !errors.Is(err, process.ErrUnreadable) {
				return false, err
			}
			if bytes.Contains(buf[:got], run) {
				return true, nil
			}
			if read += n; read > maxCode || uint64(got) < n {
				break
			}
			if n < codeChunk {
				break
			}
			addr += n - uint64(len(run)) // what lies across the border is seen next time
		}
	}
	return false, nil
}

// containerName matches the file names of live patches.
var containerName = lazyregexp.New(`_livepatch[0-9]+\.so$`)

// isContainer reports whether a library is a live patch that libpulp.so loaded: applied, or
// reverted, since libpulp.so keeps those in memory. Their own functions have NOPs, too.
func isContainer(l *rtld.Library, applied []Applied) bool {
	if l.SONAME != "" || l.Main {
		return false
	}
	return containerName().MatchString(l.Name) || slices.ContainsFunc(applied,
		func(a Applied) bool {
			return a.Engine == libpulpName && path.Base(a.Container) == l.Name
		})
}

// exportsEngine reports whether a library is libpulp.so, by its name: it is for people only.
func exportsEngine(l *rtld.Library) bool {
	return bytes.HasPrefix([]byte(l.SONAME), []byte("libpulp.so")) ||
		bytes.HasPrefix([]byte(l.Name), []byte("libpulp.so"))
}
