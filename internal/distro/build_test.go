package distro

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBuildNames(t *testing.T) {
	b := Build{Name: "glibc", Version: "2.31", Release: "150300.26.5"}
	got := []string{b.EVR(), b.FileName(), b.debuginfoFileName(), b.String(),
		Build{Name: "hello", Version: "1", Release: "2", Epoch: 3, Arch: "noarch"}.EVR()}
	want := []string{"2.31-150300.26.5", "glibc-2.31-150300.26.5.x86_64.rpm",
		"glibc-debuginfo-2.31-150300.26.5.x86_64.rpm",
		"glibc-2.31-150300.26.5.x86_64", "3:1-2"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("names (-want +got):\n%s", d)
	}
}

func TestBuildRefused(t *testing.T) {
	tests := map[string]struct {
		build Build
		want  string
	}{
		"name":         {Build{Name: "../x", Version: "1", Release: "1"}, `name "../x"`},
		"no version":   {Build{Name: "hello", Release: "1"}, `version ""`},
		"libc version": {Build{Name: "glibc", Version: "3", Release: "1"}, `version "3"`},
		"release":      {Build{Name: "hello", Version: "1", Release: "1-2"}, `release "1-2"`},
		"macro":        {Build{Name: "hello", Version: "1", Release: "%{x}"}, `release "%{x}"`},
		"epoch":        {Build{Name: "hello", Version: "1", Release: "1", Epoch: -1}, `epoch "-1"`},
		"architecture": {Build{Name: "hello", Version: "1", Release: "1", Arch: "vax"},
			`architecture "vax"`},
		"noarch glibc": {Build{Name: "glibc", Version: "2.31", Release: "1", Arch: "noarch"},
			`architecture "noarch"`},
		"payload": {Build{Name: "hello", Version: "1", Release: "1", Compression: "rar"},
			`payload compression "rar"`},
		"variant": {Build{Name: "glibc", Version: "2.31", Release: "1", Variant: 1001},
			`variant "1001"`},
		"endbr64": {Build{Name: "glibc", Version: "2.31", Release: "1", Arch: "ppc64le",
			CET: true}, `endbr64 "ppc64le"`},
		"padding": {Build{Name: "hello", Version: "1", Release: "1", Padding: 1},
			`padding "1"`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			rpms, debuginfo, err := makeRPMs(t.Context(), dir, []Build{tc.build})
			if err == nil || !strings.Contains(err.Error(), tc.want) || rpms != nil ||
				debuginfo != nil {
				t.Errorf("makeRPMs = %v, %v, %v; want an error with %s", rpms, debuginfo, err,
					tc.want)
			}
		})
	}
	hello := Build{Name: "hello", Version: "1", Release: "1"}
	if _, _, err := cachedRPMs(t.Context(), []Build{hello, hello}); err == nil ||
		!strings.Contains(err.Error(), "twice") {
		t.Errorf("the same build twice: %v", err)
	}
}

func TestStandardBuilds(t *testing.T) {
	now := time.Date(2026, 7, 19, 8, 0, 0, 0, time.UTC)
	builds := standardBuilds(60, now)
	if d := cmp.Diff(builds, standardBuilds(60, now.AddDate(0, 0, 10))); d != "" {
		t.Errorf("builds change within a month, which defeats the cache:\n%s", d)
	}
	if _, err := normalBuilds(builds); err != nil {
		t.Error(err)
	}
	variants := map[int]bool{}
	for i, b := range builds {
		if age := now.Sub(b.BuildTime); age < 0 || age > 731*24*time.Hour {
			t.Errorf("%s is %v old", b, age)
		}
		if i > 5 && !b.BuildTime.After(builds[i-1].BuildTime) {
			t.Errorf("%s is not younger than %s", b, builds[i-1])
		}
		variants[b.Variant] = true
	}
	if len(variants) != len(builds) {
		t.Errorf("%d variants in %d builds", len(variants), len(builds))
	}
	var got []string
	for _, b := range builds[:8] {
		got = append(got, b.EVR())
	}
	want := []string{"2.31-150300.9.12.1", "2.31-150300.26.5", "2.31-150300.63.1",
		"2.38-150600.12.1", "2.38-150600.14.32.1",
		"2.31-150300.66.1", "2.38-150600.14.35.1", "2.40-slfo.1.1_1.1"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("standard builds (-want +got):\n%s", d)
	}
	if got := StandardBuilds(0); len(got) != 0 {
		t.Errorf("StandardBuilds(0) = %v", got)
	}
}

func TestVersionScript(t *testing.T) {
	tests := map[string]struct {
		library string
		minor   int
		arch    string
		want    string
		wantNot string
	}{
		"base of its own": {"libpthread.so", 31, "x86_64", "GLIBC_2.3.2 {\n  global:\n    " +
			"pthread_cond_wait;\n} GLIBC_2.2.5;\n", "PRIVATE"},
		"older than the base": {"libpthread.so", 31, "ppc64le",
			"sem_wait;\n    pthread_cond_wait;\n  local: *;\n};\n", "GLIBC_2.3.2"},
		"not moved yet": {"libc.so", 31, "x86_64", "GLIBC_2.14 {\n  global:\n    memcpy;\n}",
			"pthread_mutex_lock"},
		"moved": {"libc.so", 34, "x86_64", "GLIBC_2.34 {\n  global:\n    " +
			"__libc_start_main;\n", "GLIBC_2.38"},
		"new": {"libc.so", 38, "aarch64", "GLIBC_2.38 {\n  global:\n    " +
			"__isoc23_strtol;\n", "GLIBC_2.14"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := versionScript(tc.library, tc.minor, tc.arch)
			if err != nil || !strings.Contains(got, tc.want) || strings.Contains(got, tc.wantNot) {
				t.Errorf("versionScript = %v,\n%s\nwant %q in it, and not %q", err, got, tc.want,
					tc.wantNot)
			}
		})
	}
	if got, err := versionScript("libm.so", 31, "ppc64le"); err == nil {
		t.Errorf("an unknown library has the script %q", got)
	}
}
