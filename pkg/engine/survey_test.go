package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// TestSurvey looks at what can be patched and what is, without stopping anyone.
func TestSurvey(t *testing.T) {
	for name, libpulp := range flavours(t) {
		t.Run(name, func(t *testing.T) {
			c := start(t, "a", libpulp, "survey_"+name)
			s := c.survey()
			if s.Engine != "libpulp" || s.Version == "" || s.Disabled != nil || s.Patched() ||
				s.Err != nil {
				t.Errorf("%+v", s)
			}
			c.is(engine.Changed, nil,
				c.one(engine.Options{Containers: read(t, container(t, "a", 10))}))
			s = c.survey()
			i := slices.IndexFunc(s.Libraries, func(l engine.PatchableLibrary) bool {
				return l.Name == "libtarget.so"
			})
			if i < 0 || len(s.Libraries[i].Applied) != 1 || !s.Patched() {
				t.Fatalf("%+v", s.Libraries)
			}
			a := s.Libraries[i].Applied[0]
			if a.Functions != 2 || a.Time.IsZero() || a.Container != container(t, "a", 10) {
				t.Errorf("%+v", a)
			}
			if d := cmp.Diff([]string{"bsc#12", "CVE-2026-1"}, a.Labels); d != "" {
				t.Errorf("labels (-want +got):\n%s", d)
			}
		})
	}
}

// TestSurveyWithout lists processes without an engine only if they are asked for.
func TestSurveyWithout(t *testing.T) {
	c := start(t, "a", "", "withoutengine")
	for _, without := range []bool{true, false} {
		name := engine.NewWildcard("withoutengine")
		list, _, err := engine.Look(t.Context(), engine.SurveyOptions{
			Selector: engine.Selector{Name: &name}, Engines: []engine.Engine{&engine.Libpulp{}},
			WithoutEngine: without,
		})
		must(t, err)
		if len(list) == 1 != without || without &&
			(list[0].PID != c.pid || len(list[0].Libraries) != 1) {
			t.Errorf("without an engine %v: %d", without, len(list))
		}
	}
}

func TestLabels(t *testing.T) {
	for text, want := range map[string][]string{
		"": nil, "fixes bsc#1234, bsc#1234 and BSC#5": {"bsc#1234", "BSC#5"},
		"jsc#SLE-20049;CVE-2021-3449x":                 {"jsc#SLE-20049", "CVE-2021-3449"},
		"cve-2021 bsc# (bsc#1) \x1b[31mcve-1-2\x1b[0m": {"bsc#1", "cve-1-2"},
	} {
		if d := cmp.Diff(want, engine.Labels(text)); d != "" {
			t.Errorf("%q (-want +got):\n%s", text, d)
		}
	}
}

func init() { jobs["unprivileged"] = unprivileged }

// TestUnprivileged lets another user trigger: it sees and patches only its own processes.
func TestUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	const nobody = 65534
	self := filepath.Join(builds.Dir, "self")
	copyFile(t, os.Args[0], self)
	ours := start(t, "a", standIn(t), "unprivileged1")
	cmd := exec.Command(gcc(t, "program/unprivileged2", "program.c", "-pthread", library(t, "a")))
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Dir(library(t, "a")), "LD_PRELOAD="+
		standIn(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	theirs := run(t, cmd)
	theirs.says(unpatched)

	job := exec.Command(self, container(t, "a", 10))
	job.Env = append(os.Environ(), "ENGINE_TEST_JOB=unprivileged",
		fmt.Sprintf("ENGINE_TEST_PIDS=%d %d", theirs.pid, ours.pid))
	job.SysProcAttr = cmd.SysProcAttr
	if out, err := job.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	ours.says(unpatched)
	theirs.says(tens10)
}

// unprivileged patches all processes of a name, and wants only its own to be patched.
func unprivileged() int {
	var own, other int
	fmt.Sscan(os.Getenv("ENGINE_TEST_PIDS"), &own, &other)
	cs, err := engine.ReadContainers(context.Background(), os.Args[1:], false)
	if err != nil || len(cs.List) != 1 {
		fmt.Println(err, cs)
		return 1
	}
	name := engine.NewWildcard("unprivileged[12]")
	o := engine.Options{Selector: engine.Selector{Name: &name},
		Engines: []engine.Engine{&engine.Libpulp{}}, Containers: cs}
	patched := []int{}
	sum, err := engine.Run(context.Background(), o, func(r *engine.Report) {
		fmt.Printf("%+v\n", r)
		if r.Status == engine.Changed {
			patched = append(patched, r.PID)
		}
	})
	if err != nil || len(patched) != 1 || patched[0] != own || sum.Denied == 0 || sum.Failed != 0 ||
		!slices.ContainsFunc(sum.DeniedNames, func(name string) bool {
			return strings.HasSuffix(name, fmt.Sprintf(" (%d)", other))
		}) {
		fmt.Println(err, patched, own, sum)
		return 1
	}
	o.Selector = engine.Selector{PID: other}
	var denied error
	if sum, err = engine.Run(context.Background(), o, func(r *engine.Report) {
		denied = r.Err
	}); err != nil || sum.Failed != 1 || !errors.Is(denied, engine.ErrPermission) {
		fmt.Println(err, sum, denied)
		return 1
	}
	return 0
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to, data, 0o755))
}

// TestSurveyContainers: what libpulp.so loaded is no library that can be patched, not even after it
// was reverted. Its functions have NOPs, as lpbuild compiles them.
func TestSurveyContainers(t *testing.T) {
	for name, libpulp := range flavours(t) {
		t.Run(name, func(t *testing.T) {
			plain := gcc(t, "withnops.so", "container.c", "-shared", "-fPIC", "-Wl,--build-id",
				"-DTENS=10", "-fpatchable-function-entry=16,14")
			file := filepath.Join(t.TempDir(), "libtarget_a_livepatch10.so")
			must(t, packOnce(plain, file, library(t, "a"), ulp.PackOptions{Force: true},
				[]string{"one:one_lp", "two:two_lp"}))
			c := start(t, "a", libpulp, "containers_"+name)
			none := func(when string) {
				t.Helper()
				for _, l := range c.survey().Libraries {
					if !l.Engine && l.Name != "libtarget.so" {
						t.Errorf("%s: %s in %s", when, l.Name, l.Path)
					}
				}
			}
			c.is(engine.Changed, nil, c.one(engine.Options{Containers: read(t, file)}))
			none("applied")
			c.is(engine.Changed, nil,
				c.one(engine.Options{Containers: read(t, file), Revert: true}))
			none("reverted")
		})
	}
}
