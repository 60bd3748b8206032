package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// nobody is a user who has no processes but those of these tests.
const nobody = 65534

// obstacles starts a process with n children of a user that nobody can patch.
func obstacles(t *testing.T, name string, uid, n int, more ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to start processes of another user")
	}
	cmd := exec.Command(gcc(t, "program/"+name, "../../testdata/obstacles.c", library(t, "a")),
		append([]string{strconv.Itoa(uid), strconv.Itoa(n)}, more...)...)
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Dir(library(t, "a")))
	run(t, cmd)
}

// TestFair has processes of one user that cannot be patched, and after them by number processes of
// root and of another user: those are patched, and each of all is begun, long before the time of
// the first ones is over.
func TestFair(t *testing.T) {
	targettest.NeedOthers(t)
	for _, n := range []int{300, 3000} {
		name := fmt.Sprintf("fair%d-%d", n, os.Getpid()) // another run of the tests has others
		obstacles(t, name+"_o", nobody, n)
		ofRoot := start(t, "a", "", name+"_r")
		cmd := exec.Command("setpriv", "--reuid=65533", "--regid=65533", "--clear-groups",
			gcc(t, "program/"+name+"_u", "program.c", "-pthread", library(t, "a")))
		cmd.Env = ofRoot.Cmd.Env
		ofUser := run(t, cmd)

		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		begun, changed := map[int]bool{}, map[int]bool{}
		enough := func(pids map[int]bool, pid int) {
			mu.Lock()
			defer mu.Unlock()
			if pids[pid] = true; len(begun) == n+3 && len(changed) == 3 {
				cancel()
			}
		}
		wild := engine.NewWildcard(name + "_*")
		o := engine.Options{
			Selector: engine.Selector{Name: &wild}, Engines: auto(),
			Containers: read(t, container(t, "a", 10)),
			Only: func(_ context.Context, p *process.Process) error {
				enough(begun, p.PID)
				return nil
			},
			Timeout: time.Hour, Deadline: 2 * time.Minute, Workers: 4,
		}
		sum, err := engine.Run(ctx, o, func(r *engine.Report) {
			if r.Status == engine.Changed {
				enough(changed, r.PID)
			}
			if (r.PID == ofRoot.pid || r.PID == ofUser.pid) && r.Status != engine.Changed {
				t.Errorf("%d: %s: %s", n, r.Name, why(r))
			}
		})
		if _, ok := errors.AsType[*process.UnbegunError](err); ok { // others that began meanwhile
			err = nil
		}
		if err != nil || ctx.Err() == nil || sum.Changed != 3 || sum.Failed != n {
			t.Errorf("%d: %v, begun %d: %+v", n, err, len(begun), sum)
		}
		ofRoot.says(tens10)
		ofUser.says(tens10)
	}
}

// why shows what became of a process.
func why(r *engine.Report) string {
	if r == nil {
		return "no report"
	}
	text := fmt.Sprintf("%v after %d attempts: %v", r.Status, r.Attempts, r.Err)
	for _, result := range r.Results {
		text += fmt.Sprintf("; %s: %v", result.Step, result.Err)
	}
	return text
}
