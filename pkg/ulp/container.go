package ulp

import (
	"debug/elf"

	"github.com/lpbuild/lpbuild/internal/elfx"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Container is a live patch's shared object as read from its bytes. Library.Name is empty: it is
// for callers that know the file's name to set.
type Container struct {
	symtab.Library       // its own symbols, build-id, architecture ...
	TextRelocations bool // DT_TEXTREL or DF_TEXTREL
	ExecStack       bool // PT_GNU_STACK is absent or executable
	Interp          bool // has a PT_INTERP
	// has constructors or destructors: DT_INIT, DT_FINI or one of their arrays. crtbegin brings
	// some
	Init      bool
	TLS       bool // has thread-local storage of its own: PT_TLS
	StaticTLS bool // has to be loaded at program start for its thread-local storage: DF_STATIC_TLS
	NoDlopen  bool // refuses to be loaded into a running process: DF_1_NODLOPEN
	RunPath   bool // says where to look for libraries: DT_RPATH or DT_RUNPATH

	file *elfx.File
}

// ParseContainer reads a live patch's shared object, packed or not. The container refers to image,
// which must not be changed as long as it is used. Errors are those of [symtab.ParseLibrary].
func ParseContainer(image []byte) (*Container, error) {
	f, err := elfx.Parse(image)
	if err != nil {
		return nil, symtab.AsFormatError(err)
	}
	l, dynamic, err := symtab.FromELF(f)
	if err != nil {
		return nil, err
	}
	c := &Container{Library: *l, file: f}
	stack := f.Segment(elf.PT_GNU_STACK)
	c.ExecStack = stack == nil || stack.Flags&elf.PF_X != 0
	c.Interp = f.Segment(elf.PT_INTERP) != nil
	c.TLS = f.Segment(elf.PT_TLS) != nil
	c.readDynamic(dynamic)
	return c, nil
}

func (c *Container) readDynamic(d *elfx.Dynamic) {
	has := func(tag elf.DynTag) bool {
		_, ok := d.Value(tag)
		return ok
	}
	flags, _ := d.Value(elf.DT_FLAGS)
	c.TextRelocations = has(elf.DT_TEXTREL) || elf.DynFlag(flags)&elf.DF_TEXTREL != 0
	flags1, _ := d.Value(elf.DT_FLAGS_1)
	c.StaticTLS = elf.DynFlag(flags)&elf.DF_STATIC_TLS != 0
	c.NoDlopen = elf.DynFlag1(flags1)&elf.DF_1_NOOPEN != 0
	c.RunPath = has(elf.DT_RPATH) || has(elf.DT_RUNPATH)
	c.Init = has(elf.DT_INIT) || has(elf.DT_FINI) || has(elf.DT_INIT_ARRAY) ||
		has(elf.DT_FINI_ARRAY) || has(elf.DT_PREINIT_ARRAY)
}

// Section returns the bytes of the first section of that name, e.g. ".ulp". They are part of the
// container's image and must not be changed. ok is false if there is no such section or if it has
// no bytes in the file (SHT_NOBITS).
func (c *Container) Section(name string) (data []byte, ok bool) {
	s := c.file.Find(name)
	if s == nil || !s.InFile() {
		return nil, false
	}
	return c.file.Data(s), true
}

// Image returns the bytes that the container was read from. They must not be changed.
func (c *Container) Image() []byte { return c.file.Image }

// Handles reports whether the function at an address of the container handles exceptions or
// cancellation.
func (c *Container) Handles(addr uint64) (bool, error) { return symtab.HandlesAt(c.file, addr) }
