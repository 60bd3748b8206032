package symtab

import (
	"debug/elf"
	"fmt"
)

// Arch is an architecture, by the name that RPM has for it.
type Arch string

// The architectures whose files this package reads and writes.
const (
	X86_64  Arch = "x86_64"
	PPC64LE Arch = "ppc64le"
	AArch64 Arch = "aarch64"
)

// ArchOf returns the architecture of an ELF file by its e_machine. For others the error wraps
// [ErrUnsupported]. That the file is little-endian, which e_machine does not tell, is checked where
// files are read.
func ArchOf(m elf.Machine) (Arch, error) {
	switch m {
	case elf.EM_X86_64:
		return X86_64, nil
	case elf.EM_PPC64:
		return PPC64LE, nil
	case elf.EM_AARCH64:
		return AArch64, nil
	}
	return "", fmt.Errorf("%w: architecture %v, want x86_64, ppc64le or aarch64", ErrUnsupported, m)
}

// Machine returns the e_machine of the architecture's ELF files, [elf.EM_NONE] if it is none of
// ours.
func (a Arch) Machine() elf.Machine {
	switch a {
	case X86_64:
		return elf.EM_X86_64
	case PPC64LE:
		return elf.EM_PPC64
	case AArch64:
		return elf.EM_AARCH64
	}
	return elf.EM_NONE
}
