package buildmatrix

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadReportRefuses what would make clean or install touch files elsewhere.
func TestReadReportRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":       "{",
		"another format": `{"format": 2}`,
		"parent directory": `{"format": 1, "cells": [{"status": "built", "arch": "..", ` +
			`"container": "a.so"}]}`,
		"subdirectory": `{"format": 1, "cells": [{"status": "built", "arch": "a/b", ` +
			`"container": "a.so"}]}`,
		"absolute directory": `{"format": 1, "cells": [{"status": "built", "arch": "/etc", ` +
			`"container": "passwd"}]}`,
		"container above": `{"format": 1, "cells": [{"status": "built", "arch": "x86_64", ` +
			`"container": "../../lpbuild.yaml"}]}`,
		"container is above": `{"format": 1, "cells": [{"status": "built", "arch": "x86_64", ` +
			`"container": ".."}]}`,
		"no container": `{"format": 1, "cells": [{"status": "built", "arch": "x86_64"}]}`,
	} {
		dir := t.TempDir()
		put(t, filepath.Join(dir, ReportName), text)
		if r, err := ReadReport(dir); err == nil || r != nil ||
			!strings.Contains(err.Error(), ReportName) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func FuzzParseReport(f *testing.F) {
	f.Add([]byte(`{"format":1,"cells":[{"status":"built","arch":"x86_64",` +
		`"container":"a_1-1_livepatch1.so","digest":""}],"inputs":[]}`))
	f.Add([]byte(`{"format":1,"cells":[{"arch":"..","container":"/"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseReport(data)
		if (err == nil) != (r != nil) {
			t.Fatalf("report %v with error %v", r, err)
		}
		if r == nil {
			return
		}
		for _, c := range r.Containers() {
			if name := filepath.Join("/build", c.Arch, c.Container); filepath.Dir(
				filepath.Dir(name)) != "/build" || strings.Contains(name, "..") &&
				!strings.Contains(c.Arch+c.Container, "..") {
				t.Fatalf("%q is not two directories below", name)
			}
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseReport(again); err != nil {
			t.Fatalf("what was read is not read again: %v: %s", err, again)
		}
	})
}
