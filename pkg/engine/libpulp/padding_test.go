package libpulp_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/libpulp"
)

// TestNOPsComeBack: when the last patch of a function is reverted, all bytes of the library's code
// are as they were; while another one replaces it, nothing is touched. libpulp.so goes on working
// with that.
func TestNOPsComeBack(t *testing.T) {
	each(t, func(t *testing.T, f flavour, lib string) {
		p, ppath := container(t, lib, 10, "one:one_lp", "two:two_lp")
		q, qpath := container(t, lib, 20, "one:one_lp")
		c := start(t, lib, f, "", "2")
		original := c.code(lib)
		for range 3 {
			must(t, "first", c.apply(p, ppath))
			must(t, "second", c.apply(q, qpath))
			c.says("20 20 3 107")
			if f.old {
				must(t, "revert both", c.revertAll(p.Metadata.Target.Name))
			} else {
				must(t, "revert the first", c.revert(p))
				c.says("20 2 3 107")
				must(t, "revert the second", c.revert(q))
			}
			c.says("1 2 3 107")
			if now := c.code(lib); !sameButTwo(original, now) {
				t.Errorf("the code is not as it was")
			}
			must(t, "first again", c.apply(p, ppath))
			must(t, "second instead", c.replace(q, qpath))
			c.says("20 2 3 107")
			must(t, "revert all", c.revertAll(p.Metadata.Target.Name))
			c.says("1 2 3 107")
			if now := c.code(lib); !sameButTwo(original, now) {
				t.Errorf("the code is not as it was")
			}
		}
	})
}

// TestUnlistedStays: where it is not certain that there were NOPs, what libpulp.so leaves stays.
func TestUnlistedStays(t *testing.T) {
	for _, f := range flavours(t) {
		lib := library(t, false)
		p, path := container(t, lib, 10, "byhand:byhand_lp")
		c := start(t, lib, f, "", "2")
		original := c.code(lib)
		must(t, "apply", c.apply(p, path))
		must(t, "revert", c.revert(p))
		c.says("1 2 3 107")
		if now := c.code(lib); sameButTwo(original, now) {
			t.Error("there were no NOPs, as far as is known, and they are there")
		}
		must(t, "apply again", c.apply(p, path))
	}
}

// sameButTwo reports whether code is the same, but for a NOP of two bytes in the place of two NOPs,
// which libpulp.so puts there.
func sameButTwo(a, b []byte) bool {
	one, two := []byte{0x66, 0x90}, []byte{0x90, 0x90}
	return bytes.Equal(bytes.ReplaceAll(a, one, two), bytes.ReplaceAll(b, one, two))
}

// code reads the code of a library from the process.
func (c *child) code(lib string) []byte {
	c.t.Helper()
	r := c.find()
	defer r.Close()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", c.pid))
	must(c.t, "mem", err)
	defer mem.Close()
	for _, l := range r.Libraries {
		if l.Path != lib {
			continue
		}
		for _, s := range l.Segments {
			if s.Perm.String() == "r-xp" {
				b := make([]byte, s.End-s.Start)
				_, err := mem.ReadAt(b, int64(s.Start))
				must(c.t, "mem", err)
				return b
			}
		}
	}
	c.t.Fatal("no code")
	return nil
}

// TestUnjump: what takes the jump away is one write on one page, and does not leave half an
// address.
func TestUnjump(t *testing.T) {
	for entry, want := range map[uint64]string{
		0x5000: "4ff2 14", 0x500e: "5000 14", 0x500d: "5005 8", 0x5008: "5000 8", 0x5007: "",
		0x5001: "", 0x5fff: "5ff1 14",
	} {
		at, data, ok := libpulp.Unjump(entry)
		got := ""
		if ok {
			got = fmt.Sprintf("%x %d", at, len(data))
		}
		if got != want {
			t.Errorf("%#x: %q, want %q", entry, got, want)
		}
	}
}
