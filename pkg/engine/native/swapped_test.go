package native

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// swapTime is for how long descriptors are swapped in each test.
const swapTime = 1500 * time.Millisecond

// TestSwappedDescriptors: a helper that shares the process's descriptors swaps each one that
// appears for the place of a FIFO that only root may open, or for a file of its own. The engine
// never opens what is swapped in, and what it maps is never that.
func TestSwappedDescriptors(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("root's files are to be opened")
	}
	lib := library(t, nopFlags)
	program := gcc(t, "swapper", "testdata/swapper.c", lib, "-Wl,-rpath,"+filepath.Dir(lib))
	p := placed(t, pack(t, lib, both, ulp.PackOptions{}, "testdata/patch.c"))
	for _, kind := range []string{"path", "file"} {
		for _, way := range []string{"anonymous", "memfd", "file"} {
			for _, oneByOne := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/%v", kind, way, oneByOne), func(t *testing.T) {
					needed(t, "", way)
					testSwapped(t, program, kind, p, Options{load: way, oneByOne: oneByOne})
				})
			}
		}
	}
}

func testSwapped(t *testing.T, program, kind string, p *Patch, o Options) {
	t.Helper()
	bait := filepath.Join(t.TempDir(), "bait")
	lay := func() error { return unix.Mkfifo(bait, 0o600) }
	if kind == "file" {
		lay = func() error { return os.WriteFile(bait, make([]byte, 1<<20), 0o600) }
	}
	if err := lay(); err != nil {
		t.Fatal(err)
	}
	c := &child{Process: targettest.Start(t, exec.Command(program, bait, kind)), t: t}
	if _, err := fmt.Sscan(c.Line(), &c.pid); err != nil {
		t.Fatal(err)
	}
	opens := watchOpens(t, bait)
	ask := func() (result int, swaps uint64) {
		if _, err := fmt.Sscan(c.Ask(""), &result, &swaps); err != nil {
			t.Fatal(err)
		}
		return result, swaps
	}
	patched, refused, swapped := 0, 0, o.load == "anonymous"
	for began := time.Now(); time.Since(began) < swapTime || !swapped &&
		time.Since(began) < 10*swapTime; {
		_, err := do(t.Context(), look(t, c.pid), Change{Apply: []*Patch{p}}, o)
		if strings.Contains(mapsOf(t, c.pid), bait) {
			t.Fatalf("%v, and it is mapped:\n%s", err, mapsOf(t, c.pid))
		}
		want := 1
		switch {
		case err == nil:
			want = 2
			patched++
		case errors.Is(err, ErrRefused):
			refused++
		case errors.Is(err, ErrAgain), errors.Is(err, ErrStale):
		default:
			t.Fatal(err)
		}
		got, swaps := ask()
		if got != want {
			t.Fatalf("%d after %v", got, err)
		}
		swapped = swapped || swaps > 0
		if err == nil {
			c.revert()
		}
	}
	_, swaps := ask()
	t.Logf("%d times patched, %d times refused, %d descriptors swapped", patched, refused, swaps)
	if !swapped {
		t.Error("no descriptor was swapped")
	}
	if opens() {
		t.Error("the bait was opened")
	}
	if f, err := os.OpenFile(bait, os.O_RDWR, 0); err != nil {
		t.Error(err)
	} else if f.Close(); !opens() {
		t.Error("an open is not seen")
	}
}

// watchOpens returns a function that reports whether a file was opened since it was asked last.
func watchOpens(t *testing.T, path string) func() bool {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err == nil {
		_, err = unix.InotifyAddWatch(fd, path, unix.IN_OPEN)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return func() bool {
		var b [4096]byte
		n, err := unix.Read(fd, b[:])
		return err == nil && n > 0
	}
}
