package elfx

import (
	"debug/elf"
	"slices"
)

// EntriesSection is the section in which gcc's -fpatchable-function-entry lists the places of the
// NOPs.
const EntriesSection = "__patchable_function_entries"

// relative returns the type of the relocation that adds the load address to its addend.
func relative(m elf.Machine) uint32 {
	switch m {
	case elf.EM_X86_64:
		return uint32(elf.R_X86_64_RELATIVE)
	case elf.EM_PPC64:
		return uint32(elf.R_PPC64_RELATIVE)
	case elf.EM_AARCH64:
		return uint32(elf.R_AARCH64_RELATIVE)
	}
	return 0
}

// PatchableEntries returns the addresses in __patchable_function_entries, each as it is when the
// file is loaded at 0, in ascending order, and whether the file has such a section at all.
//
// In a shared object they are relocated. With RELA relocations an address is the addend of a
// relative relocation that hits the section, which itself has whatever the linker left there, 0 as
// a rule. With RELR relocations and in files that are not relocated the address is in the section.
func (f *File) PatchableEntries() (entries []uint64, ok bool, err error) {
	s := f.Find(EntriesSection)
	if s == nil || !s.InFile() {
		return nil, s != nil, nil
	}
	if err := f.charge(s.Offset, s.Size, EntriesSection); err != nil {
		return nil, true, err
	}
	if s.Size%8 != 0 {
		return nil, true, fail(s.Offset, EntriesSection, errEntsize)
	}
	data, err := f.data(s, EntriesSection)
	if err != nil {
		return nil, true, err
	}
	entries = make([]uint64, len(data)/8)
	for i := range entries {
		entries[i] = le.Uint64(data[8*i:])
	}
	if err := f.relocate(entries, s.Addr); err != nil {
		return nil, true, err
	}
	slices.Sort(entries)
	entries = slices.Compact(entries)
	if len(entries) > 0 && entries[0] == 0 { // a function that the linker discarded
		entries = entries[1:]
	}
	return entries, true, nil
}

// relocate applies the relative relocations that hit the words at addr.
func (f *File) relocate(words []uint64, addr uint64) error {
	want := relative(f.Machine)
	for i := range f.Sections {
		s := &f.Sections[i]
		if s.Type != elf.SHT_RELA || s.Flags&elf.SHF_ALLOC == 0 {
			continue
		}
		rows, err := f.records(s, relaSize, "relocations")
		if err != nil {
			return err
		}
		for ; len(rows) > 0; rows = rows[relaSize:] {
			at := le.Uint64(rows) - addr
			if at < 8*uint64(len(words)) && at%8 == 0 && le.Uint32(rows[8:]) == want {
				words[at/8] = le.Uint64(rows[16:])
			}
		}
	}
	return nil
}
