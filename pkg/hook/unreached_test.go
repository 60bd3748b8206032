package hook

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine"
)

// slowEngine takes its time to report that it is for no process.
type slowEngine struct {
	time  time.Duration
	mu    sync.Mutex
	begun []int
}

func (*slowEngine) Name() string   { return "slow" }
func (*slowEngine) Anywhere() bool { return true }

func (*slowEngine) Unsure(context.Context, *engine.View) error { return nil }

func (*slowEngine) Remains(context.Context, *engine.View) (*engine.Remains, error) {
	return nil, nil
}

func (e *slowEngine) Open(_ context.Context, v *engine.View) (engine.Target, error) {
	e.mu.Lock()
	e.begun = append(e.begun, v.Process.PID)
	e.mu.Unlock()
	time.Sleep(e.time)
	return nil, engine.ErrNoEngine
}

// TestUnreached continues where the last run ended when its time was over.
func TestUnreached(t *testing.T) {
	check(t, build())
	image, err := os.ReadFile(filepath.Join(builds.Dir, "program"))
	check(t, err)
	check(t, os.WriteFile(filepath.Join(builds.Dir, "unreached"), image, 0o755))
	var pids []int
	for range 2*runtime.GOMAXPROCS(0) + 8 { // more than can be begun at once
		cmd := exec.Command(filepath.Join(builds.Dir, "unreached"))
		cmd.Env = []string{"LD_LIBRARY_PATH=" + builds.Dir}
		c := targettest.Start(t, cmd)
		c.Line()
		pids = append(pids, c.PID)
	}
	root := tree(t, map[string]string{at("1"): live(t, 10), "run/": ""})
	name := engine.NewWildcard("unreached")
	e := &slowEngine{time: 300 * time.Millisecond}
	r := Request{Action: Reconcile, Root: root, Proc: "/proc", Deadline: 100 * time.Millisecond,
		Engines: []engine.Engine{e}, Selector: engine.Selector{Name: &name}}
	got := lines(t, r)
	left := (&Request{Root: root, host: root}).unreached()
	if len(left) == 0 || len(left)+len(e.begun) < len(pids) ||
		!strings.Contains(got, "processes were not begun") {
		t.Fatalf("begun %v, left %v of %v: %s", e.begun, left, pids, got)
	}
	if info, err := os.Stat(filepath.Join(root, unreachedFile)); err != nil ||
		info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	last := slices.DeleteFunc(slices.Clone(left), func(pid int) bool {
		return !slices.Contains(pids, pid)
	})
	e.time, e.begun, r.Deadline = 0, nil, time.Minute
	lines(t, r)
	first := slices.Clone(e.begun[:min(len(last), len(e.begun))])
	slices.Sort(first) // several are begun at a time
	if len(e.begun) != len(pids) || !same(first, last, 2*runtime.GOMAXPROCS(0)) {
		t.Errorf("begun %v, want %v first", e.begun, last)
	}
	if _, err := os.Stat(filepath.Join(root, unreachedFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v remain after a run that reached all", err)
	}
}

// same reports whether two lists differ in at most n elements, since workers may overtake each
// other.
func same(a, b []int, n int) bool {
	missing := slices.DeleteFunc(slices.Clone(b), func(pid int) bool {
		return slices.Contains(a, pid)
	})
	return len(a) == len(b) && len(missing) <= n
}

// TestUnreachedForged takes no order from a file that others can write to, and only numbers from
// any.
func TestUnreachedForged(t *testing.T) {
	root := tree(t, map[string]string{unreachedFile: "17\n-3\nx\n0\n99999999999999999999\n18"})
	r := &Request{Root: root, host: root}
	if got := r.unreached(); !slices.Equal(got, []int{17, 18}) {
		t.Errorf("%v", got)
	}
	check(t, os.Chmod(filepath.Join(root, unreachedFile), 0o666))
	if got := r.unreached(); got != nil {
		t.Errorf("got %v from a file that others can write to", got)
	}
}
