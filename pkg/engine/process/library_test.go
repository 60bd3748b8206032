package process_test

import (
	"debug/elf"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

const (
	idA = "00112233445566778899aabbccddeeff00112233"
	idB = "ffeeddccbbaa99887766554433221100ffeeddcc"
)

func TestLibraries(t *testing.T) {
	lib := library(t, idA)
	target := start(t, "dlopen", lib, "value")
	libs := libraries(t, target.pid)
	l := libs[filepath.Base(lib)]
	if l == nil {
		t.Fatalf("%s is not among %d libraries", lib, len(libs))
	}
	if got := hex.EncodeToString(l.BuildID); got != idA || l.SONAME != "libtest.so.1" ||
		l.Problem != nil || l.Deleted || l.Path != lib {
		t.Errorf("library: %+v, want build-id %s", l, idA)
	}
	if l.Class != elf.ELFCLASS64 || l.Machine != elf.EM_X86_64 || l.Type != elf.ET_DYN || l.Main ||
		l.Loader {
		t.Errorf("kind of library: %+v", l)
	}
	s := l.Segment(uint64(target.word))
	if s == nil || s.Perm != rtld.PermRead|rtld.PermExec || !s.File {
		t.Errorf("value is at %#x, in segment %+v of %+v", target.word, s, l.Segments)
	}
	mains, loaders := 0, 0
	for name, l := range libs {
		if l.Main {
			mains++
		}
		if l.Loader {
			loaders++
		}
		if l.Problem != nil {
			t.Errorf("%s: %v", name, l.Problem)
		}
	}
	if mains != 1 || loaders != 1 || libs["libc.so.6"] == nil {
		t.Errorf("%d programs and %d loaders, want one each, and libc.so.6: %v", mains, loaders,
			libs)
	}
}

// What counts is what the process has in memory, whatever became of the file.
func TestLibraryFiles(t *testing.T) {
	lib, other := library(t, idA), library(t, idB)
	path := filepath.Join(t.TempDir(), "lib.so")
	t.Run("deleted", func(t *testing.T) {
		copyFile(t, lib, path)
		target := start(t, "dlopen", path, "value")
		os.Remove(path)
		l := libraries(t, target.pid)["lib.so"]
		if l == nil || hex.EncodeToString(l.BuildID) != idA || !l.Deleted || l.Path != path {
			t.Errorf("deleted library: %+v", l)
		}
	})
	// What is in its place now is not even opened: a FIFO would block, a file of 100 GB would be
	// read.
	for what, put := range map[string]func() error{
		"a FIFO":   func() error { return unix.Mkfifo(path, 0o644) },
		"a device": func() error { return os.Symlink("/dev/zero", path) },
		"a sparse file of 100 GB": func() error {
			if err := os.WriteFile(path, nil, 0o644); err != nil {
				return err
			}
			return os.Truncate(path, 100<<30)
		},
	} {
		t.Run(what, func(t *testing.T) {
			copyFile(t, lib, path)
			target := start(t, "dlopen", path, "value")
			os.Remove(path)
			if err := put(); err != nil {
				t.Fatal(err)
			}
			defer os.Remove(path)
			l := libraries(t, target.pid)["lib.so"]
			if l == nil || hex.EncodeToString(l.BuildID) != idA {
				t.Errorf("%+v", l)
			}
		})
	}
	t.Run("replaced", func(t *testing.T) {
		copyFile(t, lib, path)
		target := start(t, "dlopen", path, "value")
		copyFile(t, other, path+".new")
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		l := libraries(t, target.pid)["lib.so"]
		if l == nil || hex.EncodeToString(l.BuildID) != idA || !l.Deleted {
			t.Errorf("replaced library: %+v", l)
		}
	})
}
