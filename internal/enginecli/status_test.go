package enginecli

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/pkg/engine"
)

// TestStatusNoEngine checks that status shows why no engine can patch a process.
func TestStatusNoEngine(t *testing.T) {
	for want, err := range map[string]error{"no engine": nil,
		"no engine: a 32-bit program": errors.New("a 32-bit program")} {
		if rows := statusRows(&engine.Survey{PID: 7, Name: "program",
			Disabled: err}); len(rows) != 1 || rows[0][3] != want {
			t.Errorf("%q, want %q", rows, want)
		}
	}
}

// TestStatusKept checks that a live patch in memory that is not in use is not listed as applied.
func TestStatusKept(t *testing.T) {
	p := &engine.Survey{PID: 7, Name: "program", Engine: "native",
		Kept: []engine.Applied{{Library: "liba.so", BuildID: []byte{0xab, 0xcd},
			Container: "/x/liba_livepatch1.so"}}}
	if rows := statusRows(p); len(rows) != 1 || strings.Join(rows[0], "|") !=
		"7|program|native|enabled|liba.so|abcd|liba_livepatch1.so (not in use, still in memory)|" {
		t.Errorf("%q", rows)
	}
	if j := NewSurveyJSON(p); len(j.Kept) != 1 || j.Kept[0].Container != "/x/liba_livepatch1.so" ||
		p.Patched() {
		t.Errorf("%+v", j)
	}
}

// TestStatusOfProbes checks that probes have rows of their own, and so has an unknown set of
// probes.
func TestStatusOfProbes(t *testing.T) {
	p := &engine.Survey{PID: 7, Name: "program", Engine: "native",
		ProbesErr: errors.New("pagemap: no such file"), Probes: []engine.Probe{
			{Library: "libc.so.6", Function: "free", Set: true, BuildID: []byte{0xab}},
			{Library: "libc.so.6", Function: "malloc", Event: "group/name", Set: true},
			{Library: "libc.so.6", Function: "calloc", Event: "group/other"},
		}}
	var got []string
	for _, row := range statusRows(p) {
		got = append(got, strings.TrimRight(strings.TrimSuffix(row[4]+" "+row[5], " -"),
			" ")+": "+row[6])
	}
	if want := []string{
		"libc.so.6 ab: (a probe is set at free: it cannot be changed)",
		"libc.so.6: (uprobe group/name is set at malloc: it cannot be changed)",
		"libc.so.6: (uprobe group/other is defined at calloc, and not enabled)",
		"-: (probes: unknown: pagemap: no such file)",
	}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestStatusCounts checks that a patched process counts as one that can be patched, even if only a
// stop shows whether it takes another live patch.
func TestStatusCounts(t *testing.T) {
	patched := []engine.PatchableLibrary{{Name: "liba.so",
		Applied: []engine.Applied{{Library: "liba.so"}}}}
	for name, tc := range map[string]struct {
		p    engine.Survey
		want string
	}{
		"filtered": {engine.Survey{Engine: "native", Anywhere: true, Unsure: engine.ErrUnsure,
			Libraries: patched}, "1 process can be live patched, 1 patched\n"},
		"frozen": {engine.Survey{Engine: "native", Anywhere: true, Disabled: engine.ErrFrozen,
			Libraries: patched}, "1 process can be live patched, 1 patched\n"},
		"unknown": {engine.Survey{Engine: "native", Anywhere: true, Err: engine.ErrFrozen},
			"0 processes can be live patched, 0 patched\n"},
	} {
		s := &console.Console{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}
		printStatus(s, nil, countAll([]*engine.Survey{&tc.p}), 0)
		if got := s.Out.(*bytes.Buffer).String(); !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

// TestStatusUnknown: each process is in one of the counts. One of which a dry run would say that it
// is unknown is so here.
func TestStatusUnknown(t *testing.T) {
	library := []engine.PatchableLibrary{{Name: "liba.so"}}
	patched := []engine.PatchableLibrary{{Name: "liba.so",
		Applied: []engine.Applied{{Library: "liba.so"}}}}
	list := []*engine.Survey{
		{Engine: "native", Anywhere: true, Unsure: engine.ErrUnsure, Libraries: library},
		{Engine: "native", Anywhere: true, Unsure: engine.ErrUnsure, Libraries: patched},
		{Engine: "native", Anywhere: true, Libraries: library},
	}
	if got := stateWord(list[0]); got != "unknown: seccomp filters" {
		t.Errorf("state %q", got)
	}
	s := &console.Console{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}
	printStatus(s, nil, countAll(list), 0)
	if got, want := s.Out.(*bytes.Buffer).String(),
		"2 processes can be live patched, 1 patched\n1 process is unknown: its seccomp filters "+
			"can only be read while it is stopped, and may forbid patching\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestDeniedLine: root is not told to become root.
func TestDeniedLine(t *testing.T) {
	for root, want := range map[bool]string{
		false: "2 processes are not permitted to be looked at: become root to see all",
		true: "2 processes are not permitted to be looked at, even by root here: a security " +
			"module, or a capability that is missing (CAP_SYS_PTRACE)",
	} {
		if got := deniedLine(2, root); got != want {
			t.Errorf("root %v: %s", root, got)
		}
	}
}
