package hotpatch

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// slot is the room for a generated encoding: what follows it are NOPs, so that objdump is in step
// again at the next one.
const slot = 32

// generated makes encodings of all maps: each opcode with each of some prefixes, and with operands
// of each form.
func generated(yield func(encoding ...byte)) {
	prefixes := [][]byte{
		{}, {0x66}, {0xf2}, {0xf3}, {0xf0}, {0x67}, {0x2e}, {0x3e}, {0x64}, {0x48}, {0x41}, {0x4f},
		{0x40},
		{0x66, 0x48}, {0xf2, 0x48}, {0xf3, 0x48}, {0xf0, 0x48}, {0x67, 0x48}, {0x66, 0x41},
		{0x66, 0xf2}, {0x66, 0xf3}, {0xf2, 0x66},
		{0x48, 0x66}, {0x48, 0x48}, {0x48, 0xf3}, {0x66, 0x66}, {0xf3, 0xf3}, {0xf2, 0xf3},
		{0xf0, 0xf2}, {0xf0, 0xf3}, {0x64, 0x65},
		{0x67, 0x67}, {0x66, 0x67}, {0xf0, 0x66}, {0xf0, 0xf0}, {0x9b}, {0x66, 0x9b}, {0x9b, 0x48},
		{0xd5, 0x00}, {0xd5, 0x80}, {0x66, 0x66, 0x2e},
	}
	forms := operandForms()
	for _, escape := range [][]byte{{}, {0x0f}, {0x0f, 0x38}, {0x0f, 0x3a}, {0x0f, 0x0f}} {
		for op := range 256 {
			for i, p := range prefixes {
				head := append(append(bytes.Clone(p), escape...), byte(op))
				for n, form := range forms {
					if i == 0 && len(escape) <= 1 || n < 16 {
						yield(append(bytes.Clone(head), form...)...)
					}
				}
			}
		}
	}
	few := [][]byte{{0x00}, {0x0d}, {0x44, 0x24}, {0xc1}, {0xf8}, {0x84, 0x25}}
	for op := range 256 {
		for _, form := range few {
			for b := range 16 { // W, L and the mandatory prefix, and some registers
				w, l, pp := byte(b&8)<<4, byte(b&4), byte(b&3)
				for _, vvvv := range []byte{0x78, 0x38} {
					yield(append([]byte{0xc5, 0x80 | vvvv | l | pp, byte(op)}, form...)...)
					for m := range byte(9) {
						yield(append([]byte{0xc4, 0xe0 | m, w | vvvv | l | pp, byte(op)},
							form...)...)
					}
				}
				for m := range byte(16) {
					for _, last := range []byte{0x08, 0x28, 0x49, 0x00} {
						yield(append([]byte{0x62, 0xf0 | m, w | 0x7c | pp, last, byte(op)},
							form...)...)
					}
				}
				yield(append([]byte{0x62, 0xf1, w | 0x78 | pp, 0x08, byte(op)}, form...)...)
			}
			for m := byte(8); m < 12; m++ { // XOP
				yield(append([]byte{0x8f, 0xe0 | m, 0x78, byte(op)}, form...)...)
			}
			for _, p := range []byte{0x66, 0xf2, 0xf3, 0xf0, 0x48, 0x67, 0x64, 0x2e} {
				yield(append([]byte{p, 0xc5, 0xf8, byte(op)}, form...)...)
				yield(append([]byte{p, 0x62, 0xf1, 0x7c, 0x48, byte(op)}, form...)...)
			}
		}
	}
}

// operandForms are ModRM with what belongs to it: the first 16 are memory and registers for each
// middle field.
func operandForms() [][]byte {
	var list [][]byte
	for reg := range byte(8) {
		list = append(list, []byte{reg << 3}, []byte{0xc0 | reg<<3})
	}
	for reg := range byte(8) {
		for _, form := range [][]byte{{0x05}, {0x04, 0x24}, {0x04, 0x25}, {0x44, 0x24}, {0x45},
			{0x85}, {0x84, 0x24}} {
			list = append(list, append([]byte{form[0] | reg<<3}, form[1:]...))
		}
		for rm := range byte(7) {
			list = append(list, []byte{0xc1 + rm | reg<<3})
		}
	}
	return list
}

// TestDecodeGenerated compares generated encodings.
func TestDecodeGenerated(t *testing.T) {
	if os.Getenv(decodeVariable) == "" {
		t.Skip("`make test-decode` runs it: it takes minutes")
	}
	var image []byte
	c, all := newTally(), 0
	generated(func(encoding ...byte) {
		all++
		encoding = append(encoding, bytes.Repeat([]byte{0x90}, slot-len(encoding))...)
		if _, why := decode(encoding, 0); why != "" {
			c.refused[why]++
			return
		}
		image = append(image, encoding...)
	})
	path := filepath.Join(t.TempDir(), "encodings")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	var last listed
	starts := 0
	end := func(next uint64) {
		if last.text != "" {
			c.compare("generated", image[last.addr:], last, int(next-last.addr))
		}
		last = listed{}
	}
	err := disassemble(func(l listed) {
		end(l.addr)
		if l.addr%slot == 0 {
			last = l
			starts++
		}
	}, "-D", "-b", "binary", "-m", "i386:x86-64", path)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(image) / slot; starts != n {
		t.Errorf("objdump was in step at %d of %d encodings", starts, n)
	}
	t.Logf("%d encodings", all)
	c.report(t)
}
