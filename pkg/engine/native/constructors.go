package native

import (
	"bytes"
	"debug/elf"

	"github.com/lpbuild/lpbuild/internal/elfx"
)

// Nothing of the container runs before its functions are called, so constructors and destructors
// with a content are refused. Every shared object that gcc links has some without: _init and _fini,
// which call __gmon_start__ if there is a profiler; frame_dummy, which registers transactional
// memory clones; __do_global_dtors_aux, which does the reverse and tells libc that the object is
// going to be unloaded. Leaving these out changes nothing for the code of a patch. They are
// recognised by their code, which strip does not remove, as far as it decides what they are.
var stubs = map[elf.DynTag]func(code []byte) bool{
	elf.DT_INIT: func(code []byte) bool {
		// sub $8,%rsp; mov __gmon_start__@GOT(%rip),%rax; test; je .+4; call *%rax
		return matches(code, "4883ec08488b05????????4885c07402ffd04883c408c3")
	},
	elf.DT_FINI: func(code []byte) bool { // sub $8,%rsp; add $8,%rsp; ret
		return matches(code, "4883ec084883c408c3")
	},
	elf.DT_INIT_ARRAY: func(code []byte) bool { // jmp register_tm_clones; before gcc 8 with a frame
		return matches(code, "e9????????") || matches(code, "eb??") ||
			matches(code, "554889e55de9????????") || matches(code, "554889e55deb??")
	},
	elf.DT_FINI_ARRAY: func(code []byte) bool {
		// cmpb $0,completed.0(%rip); jne; push %rbp; cmpq $0,__cxa_finalize@GOT
		return matches(code, "803d????????0075??5548833d????????00")
	},
}

// tmClones is what frame_dummy jumps to: lea __TMC_END__; lea __TMC_LIST__; sub.
var tmClones = []string{"488d3d????????488d35????????4829fe", "488d3d????????488d05????????4839f8"}

func checkConstructors(d *elfx.Dynamic, im *image) []error {
	var errs []error
	refuse := func(what string) {
		errs = append(errs, &ContainerError{"constructors", "it has " + what +
			", which would not run", "initialize variables statically, or when a replacement is " +
			"first called"})
	}
	if n, ok := d.Value(elf.DT_PREINIT_ARRAYSZ); ok && n > 0 {
		refuse("constructors (.preinit_array)")
	}
	for _, t := range []elf.DynTag{elf.DT_INIT, elf.DT_FINI} {
		if addr, ok := d.Value(t); ok && !stubs[t](code(im, addr)) {
			refuse(map[elf.DynTag]string{elf.DT_INIT: "a constructor _init",
				elf.DT_FINI: "a destructor _fini"}[t])
		}
	}
	for _, a := range []struct {
		array, size elf.DynTag
		what        string
	}{{elf.DT_INIT_ARRAY, elf.DT_INIT_ARRAYSZ, "constructors"}, {elf.DT_FINI_ARRAY,
		elf.DT_FINI_ARRAYSZ, "destructors"}} {
		addr, ok := d.Value(a.array)
		size, _ := d.Value(a.size)
		if !ok || size == 0 {
			continue
		}
		fn := relativeAt(im, d, addr)
		if size != 8 || !stubs[a.array](code(im, fn)) || a.array == elf.DT_INIT_ARRAY &&
			!registersClones(im, fn) {
			refuse(a.what)
		}
	}
	return errs
}

// registersClones reports whether the function that frame_dummy jumps to is register_tm_clones.
func registersClones(im *image, addr uint64) bool {
	c := code(im, addr)
	at := addr + skipLanding(im, addr)
	if matches(c, "554889e55d") {
		c, at = c[5:], at+5
	}
	var to uint64
	switch {
	case len(c) >= 5 && c[0] == 0xe9:
		to = at + 5 + uint64(int64(int32(le.Uint32(c[1:]))))
	case len(c) >= 2 && c[0] == 0xeb:
		to = at + 2 + uint64(int64(int8(c[1])))
	}
	target := code(im, to)
	return matches(target, tmClones[0]) || matches(target, tmClones[1])
}

func skipLanding(im *image, addr uint64) uint64 {
	if bytes.HasPrefix(im.bytes(addr, 4), endbr64) {
		return 4
	}
	return 0
}

// code returns the first bytes of a function after its landing mark; none if no code is there.
func code(im *image, addr uint64) []byte {
	if !im.code(addr, 1) {
		return nil
	}
	return bytes.TrimPrefix(im.mem[addr:min(addr+64, uint64(len(im.mem)))], endbr64)
}

// relativeAt returns the address that a relative relocation puts at addr, 0 if there is none.
func relativeAt(im *image, d *elfx.Dynamic, addr uint64) uint64 {
	table, err := dynamicTable(im, d, elf.DT_RELA, elf.DT_RELASZ)
	if err != nil {
		return 0
	}
	for ; len(table) >= relaSize; table = table[relaSize:] {
		if le.Uint64(table) == addr && elf.R_X86_64(le.Uint32(table[8:])) == elf.R_X86_64_RELATIVE {
			return le.Uint64(table[16:])
		}
	}
	if packed, err := readRelr(im, d); err == nil {
		for _, r := range packed {
			if r.off == addr {
				return uint64(r.addend)
			}
		}
	}
	return 0
}

// matches compares code with a pattern of hexadecimal digits, in which ?? is any byte.
func matches(code []byte, pattern string) bool {
	if len(code) < len(pattern)/2 {
		return false
	}
	const digits = "0123456789abcdef"
	for i := 0; i+1 < len(pattern); i += 2 {
		b := code[i/2]
		if pattern[i] != '?' && (digits[b>>4] != pattern[i] || digits[b&15] != pattern[i+1]) {
			return false
		}
	}
	return true
}
