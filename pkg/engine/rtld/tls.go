package rtld

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// glibc tells debuggers where the fields of its private link_map are, by descriptors of three
// 32-bit numbers: size of the field in bits, number of elements, offset in bytes. That is the only
// promise there is about them.
const (
	moduleDescriptor = "_thread_db_link_map_l_tls_modid"
	offsetDescriptor = "_thread_db_link_map_l_tls_offset"
	maxDescribed     = 8192 // bytes of a link_map
	libcName         = "libc.so.6"
)

// linkMapField reads a described field of a library's struct link_map.
func (m *LinkMaps) linkMapField(ctx context.Context, l *Library,
	descriptor string) (uint64, error) {
	_, entry, err := m.Find(ctx, l)
	if err != nil {
		return 0, err
	}
	for _, lm := range m.all() {
		if name := lm.Library.SONAME; name != libcName && name != "libpthread.so.0" {
			continue
		}
		symbols, err := m.Symbols(ctx, lm.Library)
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
		if _, err := m.p.ReadAt(ctx, b[:], s.Addr); err != nil {
			return 0, err
		}
		if bits, count, off := le.Uint32(b[:]), le.Uint32(b[4:]), le.Uint32(b[8:]); bits == 64 &&
			count == 1 && off < maxDescribed {
			return m.word(ctx, entry.Addr+uint64(off))
		}
	}
	return 0, fmt.Errorf("libc does not tell where %s is: %w",
		descriptor[len("_thread_db_link_map_"):], ErrUnresolved)
}

// TLSModule returns the number by which __tls_get_addr knows a library.
func (m *LinkMaps) TLSModule(ctx context.Context, l *Library) (uint64, error) {
	id, err := m.linkMapField(ctx, l, moduleDescriptor)
	if err == nil && (id == 0 || id > maxLinkMaps) {
		err = fmt.Errorf("%q has no thread-local storage: %w", l.Name, ErrUnresolved)
	}
	return id, err
}

// StaticTLSOffset returns how far below the thread pointer a library's thread-local block lies in
// every thread. Only blocks that were made at program start, or promised then, have such a place.
func (m *LinkMaps) StaticTLSOffset(ctx context.Context, l *Library) (uint64, error) {
	off, err := m.linkMapField(ctx, l, offsetDescriptor)
	if err == nil && (off == 0 || off > 1<<31) { // none yet, or never
		err = fmt.Errorf("%q has no static thread-local storage: %w", l.Name, ErrUnresolved)
	}
	return off, err
}

// TLSValue computes a relocation of a thread-local variable: its module, its offset there, or its
// offset from the thread pointer.
func (s *Scope) TLSValue(ctx context.Context, b Binding, kind elf.R_X86_64,
	addend int64) (uint64, error) {
	if b.Symbol.Type != elf.STT_TLS {
		return 0, fmt.Errorf("%q is not thread-local: %w", b.Symbol.Name, ErrUnresolved)
	}
	switch kind {
	case elf.R_X86_64_DTPMOD64:
		return s.m.TLSModule(ctx, b.Library)
	case elf.R_X86_64_DTPOFF64:
		return b.Symbol.Addr + uint64(addend), nil
	}
	off, err := s.m.StaticTLSOffset(ctx, b.Library)
	return b.Symbol.Addr + uint64(addend) - off, err
}
