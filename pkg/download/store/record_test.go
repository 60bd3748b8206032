package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/download/store"
)

func TestRecord(t *testing.T) {
	s := open(t)
	key := "any key: / \x00 " + strings.Repeat("long", 1000)
	for _, value := range []string{"first", "", "replaced"} {
		if err := s.SetRecord("rpm-files", key, []byte(value)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Record("rpm-files", key); string(got) != value || err != nil {
			t.Errorf("Record = %q, %v; want %q", got, err, value)
		}
	}
	if got := files(t, s.Dir()); len(got) != 1 {
		t.Errorf("files %v", got)
	}
}

func TestRecordMissing(t *testing.T) {
	s := open(t)
	if err := s.SetRecord("kind", "key", []byte("value")); err != nil {
		t.Fatal(err)
	}
	for _, at := range [][2]string{{"kind", "other"}, {"other", "key"}} {
		if got, err := s.Record(at[0], at[1]); !errors.Is(err, store.ErrMissing) || got != nil {
			t.Errorf("Record(%q) = %q, %v", at, got, err)
		}
	}
}

func TestRecordDamaged(t *testing.T) {
	damages := map[string]func(data []byte) []byte{
		"one bit":   func(data []byte) []byte { data[len(data)-1] ^= 1; return data },
		"truncated": func(data []byte) []byte { return data[:len(data)-1] },
		"empty":     func([]byte) []byte { return nil },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			if err := s.SetRecord("kind", "key", []byte("value")); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(s.Dir(), files(t, s.Dir())[0])
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, damage(data), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Record("kind", "key"); !errors.Is(err, store.ErrMissing) ||
				got != nil {
				t.Errorf("Record = %q, %v", got, err)
			}
		})
	}
}

func TestRecordRefuses(t *testing.T) {
	s := open(t)
	for _, kind := range []string{"", "../blobs", "a/b", "UPPER", strings.Repeat("k", 65)} {
		if err := s.SetRecord(kind, "key", nil); err == nil {
			t.Errorf("SetRecord(%q) succeeded", kind)
		}
		if _, err := s.Record(kind, "key"); err == nil || errors.Is(err, store.ErrMissing) {
			t.Errorf("Record(%q): %v", kind, err)
		}
	}
	if err := s.SetRecord("kind", "key", make([]byte, store.MaxRecord+1)); !errors.Is(err,
		store.ErrTooLarge) {
		t.Errorf("SetRecord of too much: %v", err)
	}
	if left := files(t, s.Dir()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
