package trigger_test

import (
	"errors"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/ulp/trigger"
)

var native = []trigger.Backend{&trigger.Native{}}

// nativeErr runs for one process and returns what became of the container that was given.
func nativeErr(t *testing.T, c *child, o trigger.Options) error {
	t.Helper()
	o.Backends = native
	r := c.one(o)
	if r.Err != nil {
		return r.Err
	}
	for _, res := range r.Results {
		if res.Err != nil {
			return res.Err
		}
	}
	return nil
}

// TestNative applies, replaces and reverts in a process without libpulp.so.
func TestNative(t *testing.T) {
	c := start(t, "a", "", "native")
	ten, twenty := read(t, container(t, "a", 10)), read(t, container(t, "a", 20))
	if err := nativeErr(t, c, trigger.Options{Containers: ten, DryRun: true}); err != nil {
		t.Errorf("dry run: %v", err)
	}
	c.says(unpatched)
	if err := nativeErr(t, c, trigger.Options{Containers: ten}); err != nil {
		t.Errorf("apply: %v", err)
	}
	c.says(tens10)
	if err := nativeErr(t, c, trigger.Options{Containers: ten}); !errors.Is(err, trigger.ErrApplied) {
		t.Errorf("apply again: %v", err)
	}
	if err := nativeErr(t, c, trigger.Options{Containers: twenty, RevertAll: "target"}); err != nil {
		t.Errorf("replace: %v", err)
	}
	c.says(tens20)
	list, _, err := trigger.Look(t.Context(), trigger.SurveyOptions{Selector: c.selector(), Backends: native})
	found := 0
	for _, s := range list {
		for _, l := range s.Libraries {
			for _, a := range l.Applied {
				if found++; len(a.Labels) == 0 {
					t.Errorf("survey: %+v", a)
				}
			}
		}
	}
	if err != nil || found != 1 {
		t.Errorf("survey: %d applied, %v", found, err)
	}
	if err := nativeErr(t, c, trigger.Options{Containers: ten, Revert: true}); !errors.Is(err, trigger.ErrNotApplied) {
		t.Errorf("revert what is not there: %v", err)
	}
	if err := nativeErr(t, c, trigger.Options{Containers: twenty, Revert: true}); err != nil {
		t.Errorf("revert: %v", err)
	}
	c.says(unpatched)
	if err := nativeErr(t, c, trigger.Options{Containers: read(t, container(t, "bb", 10)), Every: true}); !errors.Is(err, trigger.ErrBuildID) {
		t.Errorf("another build: %v", err)
	}
}
