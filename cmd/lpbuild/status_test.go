package main

import (
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/ulp/trigger"
)

// TestStatusKept: what was reverted and is still in memory is listed as that, and not as applied.
func TestStatusKept(t *testing.T) {
	p := &trigger.Survey{PID: 7, Name: "program", Engine: "native", Kept: []trigger.Applied{{Library: "liba.so", Container: "/x/liba_livepatch1.so"}}}
	if rows := statusRows(p); len(rows) != 1 || strings.Join(rows[0], "|") !=
		"7|program|native|enabled|liba.so||liba_livepatch1.so (reverted, in memory for a thread)|" {
		t.Errorf("%q", rows)
	}
	if j := newSurveyJSON(p); len(j.Kept) != 1 || j.Kept[0].Container != "/x/liba_livepatch1.so" || p.Patched() {
		t.Errorf("%+v", j)
	}
}
