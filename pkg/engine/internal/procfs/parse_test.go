package procfs

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
)

const (
	statText = `4242 (a) b) S 17 4242 4242 0 -1 4194304 84 0 0 0 1 2 0 0 20 0 3 0 98765 2990080 ` +
		`448 18446744073709551615 ` +
		`94321 94500 140736 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 9 10 11 12 13 14 15 0`
	statusText = "Name:\tliar\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t7\nPid:\t7\nPPid:\t1\n" +
		"TracerPid:\t33\n" +
		"Uid:\t1000\t0\t1000\t0\nGid:\t100\t100\t100\t100\nNSpid:\t7\t3\t1\nVmSize:\t   8 kB\n" +
		"VmStk:\t     132 kB\nSigCgt:\t8000000000000002\nCapPrm:\t00000000000000c0\n" +
		"NoNewPrivs:\t1\nSeccomp:\t2\nx86_Thread_features:\tshstk wrss \n" +
		"x86_Thread_features_locked:\t\nThreads:\t1\n"
)

func TestParseStat(t *testing.T) {
	got, err := ParseStat([]byte(statText))
	want := &Stat{Name: "a) b", State: 'S', Parent: 17, Flags: 0x400000, Threads: 3, Start: 98765,
		StartCode: 94321, StartStack: 140736}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("ParseStat: %v (-want +got):\n%s", err, d)
	}
	// in the middle of the last number that counts
	cut := statText[:strings.Index(statText, " 140736")+len(" 14")]
	for _, text := range []string{"", "1", "1 (a", ") (", "1 (a) S 1",
		strings.Replace(statText, " 3 0 98765", " x 0 98765", 1), cut} {
		if s, err := ParseStat([]byte(text)); !errors.Is(err, ErrMalformed) || s != nil {
			t.Errorf("ParseStat(%q): %+v, %v, want ErrMalformed", text, s, err)
		}
	}
}

// status reads a status as of a process.
func status(r io.Reader) (*Status, error) {
	s, seen, err := parseStatus(r)
	if err == nil {
		err = seen.required(Root)
	}
	if err != nil {
		return nil, err
	}
	return &s, nil
}

func TestParseStatus(t *testing.T) {
	want := &Status{State: 'S', Group: 7, Parent: 1, Tracer: 33, UID: IDs{1000, 0, 1000, 0},
		GID: IDs{100, 100, 100, 100}, InnerPID: 1, Depth: 3, Memory: true, Stack: 132 << 10,
		Caught: 0x8000000000000002, Permitted: 0xc0, NoNewPrivs: true, Seccomp: 2,
		ShadowStack: true}
	// as many as the kernel allows
	groups := "Groups:\t" + strings.Repeat("1234567890 ", 65536) + "\n"
	for name, text := range map[string]string{"plain": statusText, "groups": groups + statusText,
		"groups at the end": statusText + groups} {
		got, err := status(iotest.HalfReader(strings.NewReader(text)))
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, d)
		}
	}
	for _, change := range [][2]string{{"Uid:\t1000", "Uid:\t-1"}, {"Uid:\t1000\t", "Uid:\t"},
		{"33", "x"}, {"Seccomp:\t2", "Seccomp:\t"}, {"\t3\t1\n", "\t99999999999\n"},
		{"Seccomp:\t2", "Seccomp 2"}, {"132 kB", "132"}, {"Threads:\t1", "PPid:\t1"},
		{"8000000000000002", "x"}, {"Threads:\t1\n", "Threads:\t1"}} {
		text := strings.Replace(statusText, change[0], change[1], 1)
		if s, err := status(strings.NewReader(text)); !errors.Is(err, ErrMalformed) || s != nil {
			t.Errorf("%q: %+v, %v, want ErrMalformed", change, s, err)
		}
	}
}

// TestMissingField leaves out each field: unless this kernel lacks it, too, that is an error,
// whatever is missing.
func TestMissingField(t *testing.T) {
	here, err := ownFields(Root)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range statusFields {
		text := strings.Replace(statusText, "\n"+f.name+":", "\nX"+f.name+":", 1)
		if text == statusText {
			t.Fatalf("no %s in the text", f.name)
		}
		if s, err := status(strings.NewReader(text)); (err == nil) != (f.optional ||
			here&(1<<i) == 0) || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("without %s: %+v, %v", f.name, s, err)
		}
	}
	old := t.TempDir() // a kernel without seccomp
	for _, name := range []string{"self", "7"} {
		text := strings.Replace(statusText, "Seccomp:\t2\n", "", 1)
		if err := errors.Join(os.Mkdir(filepath.Join(old, name), 0o700),
			os.WriteFile(filepath.Join(old, name, "status"), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	d, err := Open(old, 7)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if s, err := d.Status(0); err != nil || s.Seccomp != 0 || s.Tracer != 33 {
		t.Errorf("a field that no process has: %+v, %v", s, err)
	}
}

func TestParseMapping(t *testing.T) {
	const lib = "7f1122334000-7f1122336000 r-xp 0001f000 fe:01 247026                     " +
		"/usr/lib/libc.so.6"
	file := Mapping{Start: 0x7f1122334000, End: 0x7f1122336000, Offset: 0x1f000,
		Perm: PermRead | PermExec, Dev: unix.Mkdev(0xfe, 1), Inode: 247026,
		Path: []byte("/usr/lib/libc.so.6")}
	path := func() []byte { return bytes.Clone(file.Path) }
	with := func(change func(*Mapping)) *Mapping { m := file; change(&m); return &m }
	tests := map[string]struct {
		in   string
		want *Mapping // nil: malformed
	}{
		"file": {lib, &file},
		"deleted": {lib + " (deleted)",
			with(func(m *Mapping) { m.Path = append(path(), " (deleted)"...) })},
		"no path": {strings.TrimRight(strings.TrimSuffix(lib, string(path())), " "),
			with(func(m *Mapping) { m.Path = nil })},
		"spaces": {lib + " x  y ",
			with(func(m *Mapping) { m.Path = append(path(), " x  y "...) })},
		"shared": {strings.Replace(lib, "r-xp", "-w-s", 1),
			with(func(m *Mapping) { m.Perm = PermWrite | PermShared })},
		"vsyscall": {"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  " +
			"[vsyscall]", &Mapping{Start: 0xffffffffff600000,
			End: 0xffffffffff601000, Perm: PermExec, Path: []byte("[vsyscall]")}},
		"empty":         {"", nil},
		"no fields":     {"7f1122334000-7f1122336000", nil},
		"end before":    {"2000-1000 r-xp 00000000 00:00 0", nil},
		"no digits":     {"-1000 r-xp 00000000 00:00 0", nil},
		"17 digits":     {"10000000000000000-20000000000000000 r-xp 00000000 00:00 0", nil},
		"capital":       {"A000-B000 r-xp 00000000 00:00 0", nil},
		"permissions":   {strings.Replace(lib, "r-xp", "rwxq", 1), nil},
		"permissions 2": {strings.Replace(lib, "r-xp", "xr-p", 1), nil},
		"device":        {strings.Replace(lib, "fe:01", "fe01", 1), nil},
		"inode":         {strings.Replace(lib, "247026", "-1", 1), nil},
	}
	for name, tc := range tests {
		var l Mapping
		err := l.parse([]byte(tc.in))
		if tc.want == nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: %+v, %v, want ErrMalformed", name, l, err)
			}
			continue
		}
		if d := cmp.Diff(*tc.want, l, cmpopts.EquateEmpty()); err != nil || d != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, d)
		}
	}
}

func TestEachLine(t *testing.T) {
	tests := map[string]struct {
		in   string
		want []string
		err  error
	}{
		"empty":      {"", nil, nil},
		"no newline": {"a\nb", []string{"a"}, ErrMalformed},
		"cut":        {"a\n12345678xxxxx\nb\n", []string{"a", "12345678", "b"}, nil},
		"cut at end": {"12345678xxxxxxxxxxxxxxxx", []string{"12345678"}, ErrMalformed},
		"exact":      {"1234567\n12345678\nb\n", []string{"1234567", "12345678", "b"}, nil},
	}
	for name, tc := range tests {
		for _, r := range []io.Reader{strings.NewReader(tc.in),
			iotest.OneByteReader(strings.NewReader(tc.in)),
			iotest.DataErrReader(strings.NewReader(tc.in))} {
			var got []string
			err := eachLine(r, make([]byte, 8), func(line []byte) error {
				got = append(got, string(line))
				return nil
			})
			if d := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); !errors.Is(err, tc.err) ||
				d != "" {
				t.Errorf("%s: %v (-want +got):\n%s", name, err, d)
			}
		}
	}
	count := 0
	err := eachLine(strings.NewReader("a\nb\nc"), make([]byte, 8), func([]byte) error {
		count++
		return ErrStop
	})
	if err != nil || count != 1 {
		t.Errorf("stop: %v after %d lines", err, count)
	}
}
