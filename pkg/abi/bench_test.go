package abi_test

import (
	"debug/elf"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/abi"
)

// BenchmarkWalk is what reading the same file costs at least: all entries by debug/dwarf, and
// nothing done with them.
func BenchmarkWalk(b *testing.B) {
	f, _ := libcDebuginfo(b)
	for b.Loop() {
		e, err := elf.NewFile(f)
		if err != nil {
			b.Fatal(err)
		}
		d, err := e.DWARF()
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for r := d.Reader(); ; n++ {
			e, err := r.Next()
			if err != nil {
				b.Fatal(err)
			}
			if e == nil {
				break
			}
		}
		b.ReportMetric(float64(n), "entries")
	}
}

// BenchmarkRead reads all facts of this machine's C library.
func BenchmarkRead(b *testing.B) {
	f, id := libcDebuginfo(b)
	for b.Loop() {
		if _, err := abi.Read(f, abi.Options{BuildID: id}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParse reads the facts file of this machine's C library, as the gate does.
func BenchmarkParse(b *testing.B) {
	f, id := libcDebuginfo(b)
	facts, err := abi.Read(f, abi.Options{BuildID: id})
	if err != nil {
		b.Fatal(err)
	}
	data, err := facts.Bytes()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(data)), "bytes")
	for b.Loop() {
		if _, err := abi.Parse(data); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(data)), "bytes")
}
