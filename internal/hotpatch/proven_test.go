package hotpatch

import (
	"debug/elf"
	"os"
	"path/filepath"
	"testing"
)

// TestProven takes functions that libraries of this machine export, all of them in `make
// test-decode`: the place that is found from the first bytes alone is the one that the whole proof
// has found.
func TestProven(t *testing.T) {
	var files []string
	for _, dir := range []string{"/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64"} {
		list, err := filepath.Glob(dir + "/lib*.so*")
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, list...)
	}
	step := max(1, len(files)/24)
	if os.Getenv(decodeVariable) != "" {
		step = 1
	}
	same, short := 0, 0
	for i := 0; i < len(files); i += step {
		path := files[i]
		f, err := elf.Open(path)
		if err != nil {
			continue // a linker script
		}
		symbols, _ := f.DynamicSymbols()
		for _, s := range symbols {
			if int(s.Section) >= len(f.Sections) || s.Section == elf.SHN_UNDEF ||
				elf.ST_TYPE(s.Info) != elf.STT_FUNC || s.Size == 0 || s.Size > 1<<14 {
				continue
			}
			section := f.Sections[s.Section]
			code := make([]byte, max(s.Size, LandingLen+CodeLen))
			if n, err := section.ReadAt(code, int64(s.Value-section.Addr)); section.Flags&
				elf.SHF_EXECINSTR == 0 || n < len(code) && err != nil {
				continue
			}
			want, err := Entry(code[:s.Size], s.Value)
			if err != nil {
				continue
			}
			switch got, err := Proven(code[:LandingLen+CodeLen], s.Value, s.Size); {
			case err != nil && uint64(want.Off()+want.N) <= s.Size:
				t.Errorf("%s: %s: %v", path, s.Name, err)
			case err != nil:
				short++
			case got != want:
				t.Errorf("%s: %s: %+v, want %+v", path, s.Name, got, want)
			default:
				same++
			}
		}
		_ = f.Close()
	}
	t.Logf("%d functions of one in %d of %d files, and %d that are too short", same, step,
		len(files), short)
	if same < 1000 {
		t.Errorf("only %d functions", same)
	}
}

// TestProvenRefused: without the padding after it, a short function is not known, nor is one of
// which too little is seen.
func TestProvenRefused(t *testing.T) {
	// xor %eax,%eax; ret
	code := append([]byte{0x31, 0xc0, 0xc3}, make([]byte, LandingLen+CodeLen)...)
	for i := 3; i < len(code); i++ {
		code[i] = 0xcc
	}
	for size, n := range map[uint64]int{3: len(code), 0: len(code), 20: 8} {
		if p, err := Proven(code[:n], 0x1000, size); err == nil {
			t.Errorf("%d bytes of a function of %d: %+v", n, size, p)
		}
	}
}
