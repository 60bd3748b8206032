package libpulp

import (
	"context"
	"debug/elf"
	"errors"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Runtime is libpulp.so in one program of one process. It uses the memory of the process, which
// must stay open as long.
type Runtime struct {
	// Library is libpulp.so itself.
	Library *rtld.Library
	// Libraries are all that are loaded, libpulp.so too, as they were when Find looked.
	Libraries []*rtld.Library
	// Version is libpulp.so's, such as "0.3.17"; "" for versions before 0.3.4 or so, which do not
	// tell.
	Version string

	pid int
	mem *process.Memory
	sym symbols

	containers map[*rtld.Library]replaces // as far as they were looked at
}

// symbols are the addresses of the interface, 0 for what this version does not have.
type symbols struct {
	trigger, check, revertAll, toggle, universe       uint64 // entry points
	state, metadata, errorState, messages, queue, ver uint64 // data
	buffer                                            uint64 // bytes at metadata
	// bytes of instructions at queue, of text at messages
	queueRoom, ring uint64
}

// Find looks for libpulp.so in a process, by what it exports as it is mapped, without stopping the
// process; mem is the process's memory, with these libraries. The error is an [*Error] with
// [ErrNotLoaded], or with [ErrOldLibpulp] for a version that lacks what is needed or has it in
// places where it cannot be (then with [ErrMalformed] too); or that of package process.
func Find(ctx context.Context, p *process.Process, mem *process.Memory,
	libraries []*rtld.Library) (*Runtime, error) {
	r := &Runtime{Libraries: libraries, pid: p.PID, mem: mem}
	if err := r.find(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Runtime) find(ctx context.Context) error {
	for _, named := range []bool{true, false} { // what bears the name first
		for _, l := range r.Libraries {
			if l.Main || l.Loader || l.Problem != nil ||
				strings.HasPrefix(l.Name, "libpulp") != named {
				continue
			}
			syms, err := r.mem.Symbols(ctx, l)
			if err == nil {
				_, err = syms.Lookup(ctx, "__ulp_trigger", "")
			}
			switch {
			case err == nil:
				return r.take(ctx, l, syms)
			case !foreign(err):
				return err
			}
		}
	}
	return &Error{Code: ErrNotLoaded}
}

// foreign says that an error is of one library only.
func foreign(err error) bool {
	return errors.Is(err, ulp.ErrNoSymbol) || errors.Is(err, symtab.ErrUnsupported) ||
		errors.Is(err, process.ErrMalformed) ||
		errors.Is(err, process.ErrUnreadable) || errors.Is(err, process.ErrLimit)
}

// interfaceNames are the symbols that make up the interface, of all versions.
var interfaceNames = []string{
	"__ulp_trigger", "__ulp_check_patched", "__ulp_revert_all", "__ulp_state",
	"__ulp_metadata_buffer", "__ulp_get_global_universe",
	"__ulp_enable_or_disable_patching", "__ulp_error_state", "__ulp_msg_queue", "__ulp_insn_queue",
	"__ulp_version",
}

// take reads the interface of libpulp.so.
func (r *Runtime) take(ctx context.Context, l *rtld.Library, syms *rtld.Symbols) error {
	r.Library = l
	found, err := syms.LookupAll(ctx, interfaceNames...)
	if err != nil && foreign(err) {
		return fault(ErrOldLibpulp, err, "%q", l.Name)
	}
	if err != nil {
		return err
	}
	if err := r.place(found); err != nil {
		return fault(ErrOldLibpulp, err, "%q", l.Name)
	}
	if r.sym.ver != 0 {
		v, err := text(memory{ctx, r.mem}, r.sym.ver, maxVersion)
		if err != nil && ctx.Err() != nil {
			return err
		}
		r.Version = v
		if !plainVersion(v) {
			r.Version = ""
		}
	}
	return nil
}

// Sizes of the interface's data.
const (
	stateSize    = 16        // {char loaded; struct patch *newest}
	bufferLeast  = 4096      // libpulp.so has 512 KiB
	bufferMost   = 512 << 10 // what is used of it
	queueHeader  = 16        // {int version, instructions, size, unused}
	queueMost    = 2 << 20
	ringTail     = 12 // {int top, bottom, distance} after the text
	ringMost     = 2 << 20
	maxVersion   = 31
	queueVersion = 1 // the newest that is known
)

// place checks that every symbol lies where it may, and keeps its address.
func (r *Runtime) place(found map[string]rtld.Symbol) error {
	data, code := rtld.PermRead|rtld.PermWrite, rtld.PermRead|rtld.PermExec
	for _, want := range []struct {
		name  string
		addr  *uint64
		perm  rtld.Perm
		least uint64 // bytes
		must  bool
	}{
		{"__ulp_trigger", &r.sym.trigger, code, 0, true}, {"__ulp_check_patched", &r.sym.check,
			code, 0, true},
		{"__ulp_revert_all", &r.sym.revertAll, code, 0, true}, {"__ulp_state", &r.sym.state, data,
			stateSize, true},
		{"__ulp_metadata_buffer", &r.sym.metadata, data, bufferLeast, true},
		{"__ulp_get_global_universe", &r.sym.universe, code, 0, false},
		{"__ulp_enable_or_disable_patching", &r.sym.toggle, code, 0, false},
		{"__ulp_error_state", &r.sym.errorState, data, 4, false},
		{"__ulp_msg_queue", &r.sym.messages, data, ringTail + 1, false},
		{"__ulp_insn_queue", &r.sym.queue, data, queueHeader + 8, false},
		{"__ulp_version", &r.sym.ver, rtld.PermRead, 1, false},
	} {
		s, ok := found[want.name]
		switch {
		case !ok && want.must:
			return malformed("no symbol %s", want.name)
		case !ok:
			continue
		case !r.fits(s, want.perm, want.least):
			return malformed("symbol %s is not where it can be", want.name)
		}
		*want.addr = s.Addr
	}
	r.sym.buffer = min(found["__ulp_metadata_buffer"].Size, bufferMost)
	if r.sym.queue != 0 {
		r.sym.queueRoom = min(found["__ulp_insn_queue"].Size-queueHeader, queueMost)
	}
	if r.sym.messages != 0 {
		r.sym.ring = min(found["__ulp_msg_queue"].Size-ringTail, ringMost)
	}
	return nil
}

// fits reports whether a symbol's memory is wholly in libpulp.so, with the permissions and not with
// others.
func (r *Runtime) fits(s rtld.Symbol, perm rtld.Perm, least uint64) bool {
	if s.Type == elf.STT_TLS || s.Type == elf.STT_GNU_IFUNC || s.Size < least {
		return false
	}
	for addr, size := s.Addr, max(s.Size, 1); size > 0; {
		g := r.Library.Segment(addr)
		if g == nil || g.Perm&perm != perm || perm != rtld.PermRead &&
			g.Perm&^rtld.PermShared != perm {
			return false
		}
		n := min(size, g.End-addr)
		addr, size = addr+n, size-n
	}
	return true
}

// function returns the function that an entry point calls, if it belongs to libpulp.so.
func (r *Runtime) function(rd tracerReader, entry uint64) (uint64, error) {
	fn, err := tracer.TrapTarget(rd, entry)
	if err != nil {
		return 0, fault(ErrOldLibpulp, errors.Join(ErrMalformed, err), "entry point")
	}
	if g := r.Library.Segment(fn); g == nil || g.Perm&rtld.PermExec == 0 ||
		g.Perm&rtld.PermWrite != 0 {
		return 0, fault(ErrOldLibpulp, ErrMalformed,
			"an entry point calls %#x, which is not in libpulp.so", fn)
	}
	return fn, nil
}

// tracerReader is what package tracer reads with.
type tracerReader interface {
	ReadAt(b []byte, off int64) (int, error)
}
