package procfs

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// check is the invariant of every parser: a result, or ErrMalformed.
func check(t *testing.T, hasResult bool, err error) {
	t.Helper()
	if hasResult == (err != nil) || err != nil && !errors.Is(err, ErrMalformed) {
		t.Fatalf("result %v with error %v", hasResult, err)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(statText))
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := ParseStat(in)
		check(t, s != nil, err)
	})
}

func FuzzParseStatus(f *testing.F) {
	f.Add([]byte(statusText))
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := status(bytes.NewReader(in))
		check(t, s != nil, err)
		if err == nil && bytes.Count(in, []byte("\nSeccomp:")) != 1 &&
			!bytes.HasPrefix(in, []byte("Seccomp:")) {
			t.Fatalf("a filter that is not there: %+v", s)
		}
	})
}

func FuzzParseMaps(f *testing.F) {
	f.Add([]byte("7f0000000000-7f0000001000 r-xp 00000000 fe:00 7 /lib/a\\012b (deleted)\n" +
		"7f0000001000-7f0000002000 rw-p 00000000 00:00 0\n"))
	f.Add([]byte("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  " +
		"[vsyscall]\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		n := 0
		err := EachMapping(bytes.NewReader(in), func(m *Mapping) error {
			if n++; m.Start >= m.End || len(m.Path) > maxLine ||
				m.Perm > PermRead|PermWrite|PermExec|PermShared {
				t.Fatalf("%+v", m)
			}
			return nil
		})
		if check(t, err == nil, err); err == nil && n != bytes.Count(in, newline) || err == nil &&
			n == 0 {
			t.Fatalf("%d mappings in %d lines", n, bytes.Count(in, newline))
		}
	})
}

func FuzzParseLimit(f *testing.F) {
	f.Add("8388608              unlimited            bytes     ")
	f.Fuzz(func(t *testing.T, in string) {
		soft, hard, err := parseLimit([]byte(in))
		if check(t, err == nil, err); err == nil && (soft == Unlimited || hard == Unlimited) &&
			!strings.ContainsAny(in, "u1") {
			t.Fatalf("%q: %d, %d", in, soft, hard)
		}
	})
}
