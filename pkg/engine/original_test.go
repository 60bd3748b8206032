package engine_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// originals makes live patches for a library, whose replacements call what they replace: by 10 and
// by 20.
func originals(t *testing.T, name, lib string, o ulp.PackOptions) (ten, twenty *engine.Containers) {
	t.Helper()
	var list []*engine.Containers
	for _, tens := range []int{10, 20} {
		plain := gcc(t, fmt.Sprintf("original%d.so", tens), "original.c", "-shared", "-fPIC",
			"-Wl,--build-id", fmt.Sprintf("-DTENS=%d", tens))
		path := filepath.Join(t.TempDir(), fmt.Sprintf("libtarget_%s_livepatch%d.so", name, tens))
		must(t, packOnce(plain, path, lib, o, []string{"one:one_lp", "two:two_lp", "sum:sum_lp",
			"blocks:blocks_lp"}))
		list = append(list, read(t, path))
	}
	return list[0], list[1]
}

// TestOriginal has replacements call what they replace, by each engine, where functions begin with
// endbr64 and where they do not: applied, upgraded to a live patch that does so as well, and
// reverted, while threads call the functions all the time. The original is the library's, and never
// the live patch before.
func TestOriginal(t *testing.T) {
	preloads := flavours(t)
	preloads["native"] = ""
	for by, preload := range preloads {
		for _, protection := range []string{"none", "full"} {
			name := by + "_" + protection
			t.Run(name, func(t *testing.T) {
				lib := gcc(t, "original_"+protection+"/libtarget.so", "library.c", "-shared",
					"-fPIC", "-Wl,-soname,libtarget.so", "-fpatchable-function-entry=16,14",
					"-Wl,--build-id", "-fcf-protection="+protection)
				ten, twenty := originals(t, name, lib, ulp.PackOptions{})
				fifo := filepath.Join(t.TempDir(), "fifo")
				must(t, unix.Mkfifo(fifo, 0o600))
				path := gcc(t, "program/o_"+name, "program.c", "-pthread", lib)
				cmd := exec.Command(path, "2")
				cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Dir(lib), "FIFO="+fifo)
				if preload != "" {
					cmd.Env = append(cmd.Env, "LD_PRELOAD="+preload)
				}
				c := run(t, cmd)
				c.says(unpatched)
				change := func(o engine.Options, want string) {
					t.Helper()
					o.Engines = auto()
					c.is(engine.Changed, nil, c.one(o))
					c.says(want)
				}
				for range 2 {
					change(engine.Options{Containers: ten}, "10 20 3 1070")
					leave := c.enter(fifo) // in the original, and in the live patch when it returns
					change(engine.Options{Containers: twenty, Replace: true}, "20 40 3 2140")
					// on top of the other one
					change(engine.Options{Containers: ten}, "10 20 3 1070")
					change(engine.Options{Containers: ten, Revert: true}, "20 40 3 2140")
					change(engine.Options{RevertAll: "libtarget.so"}, unpatched)
					leave()
					c.says(unpatched)
				}
				if tool := os.Getenv("LPBUILD_LIBPULP_TOOL"); tool != "" && by == "libpulp" {
					for _, step := range []struct {
						file, want string
					}{{ten.List[0].File, "10 20 3 1070"}, {twenty.List[0].File, "20 40 3 2140"}} {
						out, err := exec.Command(tool, "trigger", "-p", strconv.Itoa(c.pid),
							"--revert-all=target", "-r", "100", step.file).CombinedOutput()
						if err != nil {
							t.Errorf("libpulp's tool: %v\n%s", err, out)
						}
						c.says(step.want)
					}
				}
			})
		}
	}
}

// TestOriginalConsistency has a thread in an original that a replacement has called: it returns
// into the replacement, which must therefore not go while that matters, and the function counts as
// one that a thread is in.
func TestOriginalConsistency(t *testing.T) {
	preloads := flavours(t)
	preloads["native"] = ""
	lib := library(t, "a")
	ten, twenty := originals(t, "consistent", lib, ulp.PackOptions{})
	for by, preload := range preloads {
		t.Run(by, func(t *testing.T) {
			fifo := filepath.Join(t.TempDir(), "fifo")
			must(t, unix.Mkfifo(fifo, 0o600))
			c := start(t, "a", preload, "consistent_"+by, "FIFO="+fifo)
			c.is(engine.Changed, nil, c.one(engine.Options{Containers: ten, Engines: careful()}))
			leave := c.enter(fifo)
			for _, o := range []engine.Options{{Containers: twenty, Replace: true},
				{RevertAll: "libtarget.so"}} {
				o.Engines, o.Timeout = careful(), time.Second
				c.is(engine.Failed, engine.ErrInUse, c.one(o))
				c.says("10 20 3 1070")
			}
			c.is(engine.Changed, nil,
				c.one(engine.Options{RevertAll: "libtarget.so", Timeout: time.Minute,
					Engines: c.leavesAfter(leave)}))
			c.says(unpatched)
		})
	}
}
