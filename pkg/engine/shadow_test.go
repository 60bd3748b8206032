package engine_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// TestShadowStacks: a process all of whose threads have shadow stacks is known to be one before it
// is stopped. The files are forged: not every CPU has them.
func TestShadowStacks(t *testing.T) {
	const pid = 5_000_001
	for name, tc := range map[string]struct {
		threads []string // their x86_Thread_features
		want    error
	}{
		"none": {[]string{"", ""}, nil}, "the first": {[]string{"shstk ", ""}, nil},
		"all":            {[]string{"shstk wrss ", "shstk "}, tracer.ErrUnsupported},
		"other features": {[]string{"wrss "}, nil}, "unknown": {[]string{"shstk ", "?"},
			process.ErrMalformed},
	} {
		root := t.TempDir()
		forgeProcess(t, root, pid)
		forgeProcess(t, root, os.Getpid())
		must(t, os.Symlink(strconv.Itoa(os.Getpid()), filepath.Join(root, "self")))
		files := map[string]string{}
		for _, file := range []string{"stat", "status"} {
			text, err := os.ReadFile(filepath.Join(root, strconv.Itoa(pid), file))
			must(t, err)
			files[file] = string(text)
		}
		for i, features := range tc.threads {
			dir := filepath.Join(root, strconv.Itoa(pid), "task", strconv.Itoa(pid+i))
			must(t, os.MkdirAll(dir, 0o755))
			status := files["status"] + "x86_Thread_features:\t" + features +
				"\nx86_Thread_features_locked:\t\n"
			if features == "?" {
				status = "garbled\n"
			}
			must(t, os.WriteFile(filepath.Join(dir, "status"), []byte(status), 0o644))
			must(t, os.WriteFile(filepath.Join(dir, "stat"),
				[]byte(strings.Replace(files["stat"], fmt.Sprint(pid), fmt.Sprint(pid+i), 1)),
				0o644))
			if i == 0 {
				must(t, os.WriteFile(filepath.Join(root, strconv.Itoa(pid), "status"),
					[]byte(status), 0o644))
			}
		}
		e := &fakeEngine{name: "fake"}
		list, _, err := engine.Look(t.Context(),
			engine.SurveyOptions{Selector: engine.Selector{PID: pid}, Engines: []engine.Engine{e},
				Root: root})
		must(t, err)
		got := errors.Join(list[0].Disabled, list[0].Err)
		if tc.want != nil && !errors.Is(got, tc.want) || tc.want == nil &&
			(errors.Is(got, tracer.ErrUnsupported) || errors.Is(got, process.ErrMalformed)) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}
