package abi_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lpbuild/lpbuild/pkg/abi"
)

func TestFile(t *testing.T) {
	facts := read(t, library(t))
	data, err := facts.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	again, err := abi.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(facts, again, cmpopts.IgnoreUnexported(abi.Facts{}),
		cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
	check(t, again)
	if second, err := read(t, library(t)).Bytes(); err != nil || !bytes.Equal(data, second) {
		t.Errorf("the same library has other facts the second time (%v)", err)
	}
	for n := range len(data) {
		if _, err := abi.Parse(data[:n]); err == nil {
			t.Fatalf("%d of %d bytes are accepted", n, len(data))
		}
	}
	if _, err := abi.Parse(append(bytes.Clone(data), 0)); err == nil {
		t.Error("a byte too many is accepted")
	}
}

func FuzzParse(f *testing.F) {
	data, err := read(f, library(f)).Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		facts, err := abi.Parse(data)
		if err != nil {
			return
		}
		again, err := facts.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		second, err := abi.Parse(again)
		if err != nil {
			t.Fatal(err)
		}
		if third, err := second.Bytes(); err != nil || !bytes.Equal(again, third) {
			t.Fatal("the facts change when they are written and read")
		}
	})
}
