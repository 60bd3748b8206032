package gadgets

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// Instructions for system calls, and one for calls of functions.
var (
	syscalls = []byte{0x0f, 0x05, 0xc3, 0xb8, 15, 0, 0, 0, 0x0f, 0x05}
	store    = []byte{0x48, 0x89, 0x03, 0x5b, 0xc3}
)

// library returns one of a page of code.
func library(soname string, at uint64, perm rtld.Perm) *rtld.Library {
	return &rtld.Library{SONAME: soname, Bias: at,
		Segments: []rtld.Segment{{Start: at, End: at + 0x1000, Perm: perm}}}
}

// TestFind looks for gadgets where several libraries have some.
func TestFind(t *testing.T) {
	const exec = rtld.PermRead | rtld.PermExec
	mem := bytes.Repeat([]byte{0x90}, 0x5000)
	copy(mem[0x1100:], syscalls)
	copy(mem[0x2200:], syscalls)
	copy(mem[0x3300:], slices.Concat(syscalls, store))
	first, libc := library("libfirst.so", 0x1000, exec), library("libc.so.6", 0x2000, exec)
	last, none := library("liblast.so", 0x3000, exec), library("libnone.so", 0x4000, exec)
	anything := func(*tracer.Gadgets) bool { return true }
	calls := func(g *tracer.Gadgets) bool { return g.Store != 0 }
	for name, tc := range map[string]struct {
		libs   []*rtld.Library
		enough func(*tracer.Gadgets) bool
		want   uint64 // of Syscall; 0: ErrGadget
	}{
		"libc goes first":          {[]*rtld.Library{first, libc, last}, anything, 0x2200},
		"or else the first one":    {[]*rtld.Library{none, first, last}, anything, 0x1100},
		"one that has what counts": {[]*rtld.Library{first, libc, last}, calls, 0x3300},
		"none has what counts":     {[]*rtld.Library{first, libc}, calls, 0},
		"none has any":             {[]*rtld.Library{none}, anything, 0},
		"no libraries":             {nil, anything, 0},
		"writable code": {
			[]*rtld.Library{library("libc.so.6", 0x2000, exec|rtld.PermWrite), first}, anything,
			0x1100},
		"no code": {[]*rtld.Library{library("libc.so.6", 0x2000, rtld.PermRead)}, anything, 0},
	} {
		g, err := Find(bytes.NewReader(mem), tc.libs, tc.enough)
		if g.Syscall != tc.want || (err == nil) != (tc.want != 0) || err != nil &&
			!errors.Is(err, tracer.ErrGadget) {
			t.Errorf("%s: %#x, %v, want %#x", name, g.Syscall, err, tc.want)
		}
	}
}
