package process_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

const (
	nops14   = "9090909090909090909090909090"
	jump     = "ff2500000000" + "8877665544332211" // to 0x1122334455667788
	endbr    = "f30f1efa"
	target64 = 0x1122334455667788
)

func TestPrologue(t *testing.T) {
	plain, landing := library(t, idA, "-fcf-protection=none"),
		library(t, idA, "-fcf-protection=full")
	type prologue = process.Prologue
	tests := map[string]struct {
		lib   string
		bytes string // written from 14 bytes before the function on
		want  prologue
	}{
		"two NOPs":          {plain, "", prologue{State: process.EntryNOPs}},
		"two NOPs, endbr64": {landing, "", prologue{State: process.EntryNOPs, Landing: true}},
		"one NOP": {plain, nops14 + "6690",
			prologue{State: process.EntryNOPs, Single: true}},
		"one NOP, endbr64": {landing, nops14 + endbr + "6690",
			prologue{State: process.EntryNOPs, Single: true, Landing: true}},
		"detour": {plain, jump + "ebf0", prologue{State: process.EntryDetour,
			Target: target64}},
		"detour, endbr64": {landing, jump + endbr + "ebec",
			prologue{State: process.EntryDetour, Target: target64, Landing: true}},
		"taken back": {plain, jump + "6690", prologue{State: process.EntryNOPs,
			Single: true, Stale: target64}},
		"jump without a target": {plain, nops14 + "ebf0", prologue{}},
		"jump elsewhere":        {plain, jump + "ebf1", prologue{}},
		"jump for no endbr64":   {landing, jump + endbr + "ebf0", prologue{Landing: true}},
		"NOPs changed":          {plain, strings.Replace(nops14, "90", "cc", 1), prologue{}},
		"entry changed":         {plain, nops14 + "cc90", prologue{}},
		"jump to zero":          {plain, "ff2500000000" + "0000000000000000" + "ebf0", prologue{}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			args := []string{"dlopen", tc.lib, "value"}
			if tc.bytes != "" {
				args = []string{"patch", tc.lib, "value", tc.bytes}
			}
			target := start(t, args...)
			got, err := memory(t, target.pid).Prologue(t.Context(), uint64(target.word),
				symtab.X86_64)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(&tc.want, got,
				cmpopts.IgnoreFields(prologue{}, "Before", "After")); d != "" {
				t.Errorf("Prologue (-want +got):\n%s", d)
			}
			if all := hex.EncodeToString(got.Before) +
				hex.EncodeToString(got.After); !strings.HasPrefix(all, tc.bytes) || len(all) != 40 {
				t.Errorf("bytes %s, want %s", all, tc.bytes)
			}
		})
	}
}

func TestPrologueErrors(t *testing.T) {
	target := start(t, "dlopen", library(t, idA), "value")
	m := memory(t, target.pid)
	for name, tc := range map[string]struct {
		addr uint64
		arch symtab.Arch
		want error
	}{
		"unmapped":     {0x1000, symtab.X86_64, process.ErrUnreadable},
		"too low":      {3, symtab.X86_64, process.ErrMalformed},
		"too high":     {^uint64(0), symtab.X86_64, process.ErrUnreadable},
		"unaligned":    {uint64(target.word) | 1, symtab.PPC64LE, process.ErrMalformed},
		"architecture": {uint64(target.word), symtab.AArch64, symtab.ErrUnsupported},
	} {
		if p, err := m.Prologue(t.Context(), tc.addr, tc.arch); !errors.Is(err, tc.want) ||
			p != nil {
			t.Errorf("%s: %+v, %v, want %v", name, p, err, tc.want)
		}
	}
}

// At the beginning of a mapping there is nothing before the entry.
func TestPrologueAtEdge(t *testing.T) {
	m := memory(t, start(t).pid)
	l := find(t, m, "libc.so.6")
	first := l.Segments[0].Start
	got, err := m.Prologue(t.Context(), first, symtab.X86_64)
	if err != nil || got.State != process.EntryUnknown || string(got.After) != "\x7fELF\x02\x01" {
		t.Errorf("Prologue at the first byte: %+v, %v", got, err)
	}
}
