package libpulp_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/libpulp"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

func TestFind(t *testing.T) {
	lib := library(t, false)
	for _, f := range flavours(t) {
		r := start(t, lib, f, "").find()
		if r.Library.Path != f.path && !f.real || f.old != (r.Version == "") || !f.old &&
			!strings.HasPrefix(r.Version, "0.3.") {
			t.Errorf("%s: %q, version %q", f.name, r.Library.Path, r.Version)
		}
		s, err := r.State(t.Context())
		if err != nil || !s.Enabled() || s.Pending != 0 || (s.QueueVersion == 0) != f.old {
			t.Errorf("%s: %+v, %v", f.name, s, err)
		}
	}
	c := start(t, lib, flavour{}, "")
	_, err := findIn(t.Context(), c.pid)
	mustNot(t, "none", err, libpulp.ErrNotLoaded)
	if !strings.Contains(err.Error(), "Libpulp not found in target process") {
		t.Error(err)
	}
	small := gcc(t, "runtimesmall.so", "testdata/runtime.c", append(shared, "-fvisibility=hidden",
		"-DSMALL", "-w")...)
	_, err = findIn(t.Context(), start(t, lib, flavour{path: small}, "").pid)
	mustNot(t, "small buffer", err, libpulp.ErrOldLibpulp)
	mustNot(t, "small buffer", err, libpulp.ErrMalformed)
}

func TestGone(t *testing.T) {
	lib := library(t, false)
	p, path := container(t, lib, 10, all...)
	c := start(t, lib, flavour{path: standIn(t)}, "")
	r := c.find()
	plan, err := r.PlanApply(t.Context(), p, path)
	must(t, "plan", err)
	c.In.Close()
	_ = c.Cmd.Wait()
	_, err = r.Stop(t.Context(), tracer.Options{}, func(s *libpulp.Session) error {
		return s.Do(t.Context(), plan)
	})
	if err == nil {
		t.Error("stopped a process that ended")
	}
	_, err = r.Applied(t.Context())
	mustNot(t, "applied", err, process.ErrGone)
}

func TestEntryPoints(t *testing.T) {
	lib := library(t, false)
	p, path := container(t, lib, 10, all...)
	open := gcc(t, "runtimeopen.so", "testdata/runtime.c", append(shared, "-fvisibility=hidden",
		"-DOPEN")...)
	c := start(t, lib, flavour{path: open}, "")
	err := c.tryApply(t.Context(), p, path)
	mustNot(t, "without trap", err, libpulp.ErrOldLibpulp)
	c.says("1 2 3 107")
}

func TestTarget(t *testing.T) {
	lib := library(t, false)
	build := gcc(t, "other/libplain.so", "testdata/library.c",
		append(shared, "-fpatchable-function-entry=16,14", "-O1", "-fcf-protection=none")...)
	c := start(t, lib, flavour{path: standIn(t)}, "")
	p, path := container(t, build, 30, "one:one_lp")
	err := c.apply(p, path)
	mustNot(t, "another build", err, libpulp.ErrBuildID)
	p, path = container(t, library(t, true), 10, "one:one_lp")
	mustNot(t, "another library", c.apply(p, path), libpulp.ErrNoTarget)
}

func TestDependencies(t *testing.T) {
	lib := library(t, false)
	for _, f := range flavours(t)[:1] {
		p, ppath := container(t, lib, 10, "one:one_lp")
		q, qpath := container(t, lib, 20, "one:one_lp", "two:two_lp")
		q.Metadata.Dependencies = [][32]byte{p.ID()}
		c := start(t, lib, f, "")
		mustNot(t, "without the other", c.apply(q, qpath), libpulp.ErrDependency)
		must(t, "first", c.apply(p, ppath))
		mustNot(t, "instead of what it depends on", c.replace(q, qpath), libpulp.ErrDependency)
		must(t, "second", c.apply(q, qpath))
		c.says("20 40 3 107")
		if list := c.applied(); len(list) != 2 || len(list[0].Dependencies) != 1 ||
			list[0].Dependencies[0] != p.ID() {
			t.Errorf("applied: %+v", list)
		}
		mustNot(t, "revert the first", c.revert(p), libpulp.ErrDependency)
		mustNot(t, "replace all by the second", c.replace(q, qpath), libpulp.ErrDependency)
		must(t, "revert all", c.revertAll(p.Metadata.Target.Name))
		c.says("1 2 3 107")
	}
}

// TestPath has another container where one was that the process still has loaded: the dynamic
// loader would not look.
func TestPath(t *testing.T) {
	lib := library(t, false)
	p, ppath := container(t, lib, 10, "one:one_lp")
	q, qpath := container(t, lib, 20, "one:one_lp")
	path := filepath.Join(t.TempDir(), "livepatch.so")
	for _, f := range flavours(t)[:1] {
		move(t, ppath, path)
		c := start(t, lib, f, "")
		must(t, "first", c.apply(p, path))
		must(t, "revert", c.revert(p))
		move(t, qpath, path)
		err := c.apply(q, path)
		mustNot(t, "second by the same path", err, libpulp.ErrDlopen)
		must(t, "second by its own path", c.apply(q, qpath))
		c.says("20 2 3 107")
	}
}

func move(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to+".new", b, 0o755)
	}
	if err == nil {
		err = os.Rename(to+".new", to)
	}
	must(t, "copy", err)
}

func TestSetPatchable(t *testing.T) {
	lib := library(t, false)
	p, path := container(t, lib, 10, all...)
	for _, f := range flavours(t) {
		c := start(t, lib, f, "")
		set := func(on bool) (changed bool, err error) {
			_, err = c.find().Stop(t.Context(), tracer.Options{},
				func(s *libpulp.Session) (err error) {
					changed, err = s.SetPatchable(t.Context(), on)
					return err
				})
			return changed, err
		}
		if f.old {
			_, err := set(false)
			mustNot(t, f.name, err, libpulp.ErrOldLibpulp)
			continue
		}
		for _, on := range []bool{false, true} {
			for _, first := range []bool{true, false} {
				if changed, err := set(on); err != nil || changed != first {
					t.Errorf("%s: %v: %v, %v", f.name, on, changed, err)
				}
			}
			if on {
				must(t, "apply", c.apply(p, path))
				continue
			}
			err := c.apply(p, path)
			mustNot(t, "blocked", err, libpulp.ErrBlocked)
			if !strings.Contains(err.Error(), "Livepatching blocked by user request") {
				t.Error(err)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	lib := library(t, false)
	p, path := container(t, lib, 10, all...)
	for _, f := range flavours(t) {
		c := start(t, lib, f, "")
		for _, want := range []bool{false, true} {
			var got bool
			_, err := c.find().Stop(t.Context(), tracer.Options{},
				func(s *libpulp.Session) (err error) {
					got, err = s.Check(t.Context(), p.ID())
					return err
				})
			if err != nil || got != want {
				t.Errorf("%s: %v, %v", f.name, got, err)
			}
			if !want {
				must(t, "apply", c.apply(p, path))
			}
		}
	}
}

// TestChanged carries out a plan that another one has overtaken.
func TestChanged(t *testing.T) {
	lib := library(t, false)
	p, ppath := container(t, lib, 10, "one:one_lp")
	q, qpath := container(t, lib, 20, "one:one_lp")
	c := start(t, lib, flavour{path: standIn(t)}, "")
	r := c.find()
	plan, err := r.PlanApply(t.Context(), p, ppath)
	must(t, "plan", err)
	must(t, "the other", c.apply(q, qpath))
	_, err = r.Stop(t.Context(), tracer.Options{}, func(s *libpulp.Session) error {
		return s.Do(t.Context(), plan)
	})
	mustNot(t, "the first", err, libpulp.ErrChanged)
	mustNot(t, "the first", err, libpulp.ErrAgain)
	c.says("20 2 3 107")
}

// TestForeignDetour has a function that somebody else made jump: it is neither switched nor
// switched back.
func TestForeignDetour(t *testing.T) {
	lib := library(t, false)
	p, ppath := container(t, lib, 10, "one:one_lp")
	q, qpath := container(t, lib, 20, "two:two_lp", "one:one_lp")
	for _, patched := range []bool{false, true} {
		c := start(t, lib, flavour{path: standIn(t)}, "")
		if patched {
			must(t, "apply", c.apply(p, ppath))
		}
		one := entryOf(t, c, lib)
		jump := append(binary.LittleEndian.AppendUint64([]byte{0xff, 0x25, 0, 0, 0, 0}, one+1<<20),
			0xeb, 0xf0)
		mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", c.pid), os.O_RDWR, 0)
		must(t, "memory", err)
		_, err = mem.WriteAt(jump, int64(one-14))
		must(t, "detour", err)
		mem.Close()
		mustNot(t, "apply", c.apply(q, qpath), libpulp.ErrNotPatchable)
		if patched {
			mustNot(t, "revert", c.revert(p), libpulp.ErrNotPatchable)
			mustNot(t, "revert all", c.revertAll(p.Metadata.Target.Name), libpulp.ErrNotPatchable)
		}
	}
}

func TestNewPatch(t *testing.T) {
	lib := library(t, false)
	_, path := container(t, lib, 10, "one:one_lp")
	for _, tt := range []struct {
		file string
		edit func(image []byte) []byte
		want error
	}{
		{lib, func(b []byte) []byte { return b }, libpulp.ErrNoMetadata},
		{path, func(b []byte) []byte {
			b, err := ulp.EmbedSections(b, ulp.Section{Name: ".ulp", Data: []byte{1, 2, 3}})
			must(t, "embed", err)
			return b
		}, libpulp.ErrInvalid},
	} {
		b, err := os.ReadFile(tt.file)
		must(t, "read", err)
		c, err := ulp.ParseContainer(tt.edit(b))
		must(t, "parse", err)
		_, err = libpulp.NewPatch(c)
		mustNot(t, tt.file, err, tt.want)
	}
}
