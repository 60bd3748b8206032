package native

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"

	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// glibc tells debuggers where the fields of its private link_map are, by descriptors of three 32-bit numbers: size of the
// field in bits, number of elements, offset in bytes. That is the only promise there is about them.
const (
	moduleDescriptor = "_thread_db_link_map_l_tls_modid"
	offsetDescriptor = "_thread_db_link_map_l_tls_offset"
	maxDescribed     = 8192 // bytes of a link_map
	libcName         = "libc.so.6"
)

// linkMapField reads a described field of a library's link_map.
func (v *view) linkMapField(ctx context.Context, l *rtld.Library, descriptor string) (uint64, error) {
	_, mod, err := v.module(ctx, l)
	if err != nil {
		return 0, err
	}
	for _, m := range v.modules() {
		if name := m.lib.SONAME; name != libcName && name != "libpthread.so.0" {
			continue
		}
		symbols, err := v.symbolsOf(ctx, m.lib)
		if err != nil || symbols == nil {
			return 0, err
		}
		s, err := symbols.Lookup(ctx, descriptor, "GLIBC_PRIVATE")
		if errors.Is(err, ulp.ErrNoSymbol) {
			continue
		} else if err != nil {
			return 0, err
		}
		var b [12]byte
		if _, err := v.m.ReadAt(ctx, b[:], s.Addr); err != nil {
			return 0, err
		}
		if bits, count, off := le.Uint32(b[:]), le.Uint32(b[4:]), le.Uint32(b[8:]); bits == 64 && count == 1 && off < maxDescribed {
			return v.word(ctx, mod.addr+uint64(off))
		}
	}
	return 0, fmt.Errorf("libc does not tell where %s is: %w", descriptor[len("_thread_db_link_map_"):], ErrUnresolved)
}

// tlsModule returns the number by which __tls_get_addr knows a library.
func (v *view) tlsModule(ctx context.Context, l *rtld.Library) (uint64, error) {
	id, err := v.linkMapField(ctx, l, moduleDescriptor)
	if err == nil && (id == 0 || id > maxModules) {
		err = fmt.Errorf("%q has no thread-local storage: %w", l.Name, ErrUnresolved)
	}
	return id, err
}

// tlsOffset returns how far below the thread pointer a library's thread-local block lies in every thread. Only blocks that
// were made at program start, or promised then, have such a place.
func (v *view) tlsOffset(ctx context.Context, l *rtld.Library) (uint64, error) {
	off, err := v.linkMapField(ctx, l, offsetDescriptor)
	if err == nil && (off == 0 || off > 1<<31) { // none yet, or never
		err = fmt.Errorf("%q has no static thread-local storage: %w", l.Name, ErrUnresolved)
	}
	return off, err
}

// tlsValue computes a thread-local relocation.
func (s *scope) tlsValue(ctx context.Context, b binding, kind elf.R_X86_64, addend int64) (uint64, error) {
	if b.sym.Type != elf.STT_TLS {
		return 0, fmt.Errorf("%q is not thread-local: %w", b.sym.Name, ErrUnresolved)
	}
	switch kind {
	case elf.R_X86_64_DTPMOD64:
		return s.v.tlsModule(ctx, b.lib)
	case elf.R_X86_64_DTPOFF64:
		return b.sym.Addr + uint64(addend), nil
	}
	off, err := s.v.tlsOffset(ctx, b.lib)
	return b.sym.Addr + uint64(addend) - off, err
}
