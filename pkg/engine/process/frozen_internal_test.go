package process

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestParseMounts has the lines of machines with both versions, with one that shows a part of the
// tree, and broken ones.
func TestParseMounts(t *testing.T) {
	const text = "30 20 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 " +
		"rw,nsdelegate\n" +
		"31 20 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n" +
		"32 20 0:28 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n" +
		"33 20 0:26 /system.slice /mnt rw - cgroup2 cgroup2 rw\n" +
		"34 20 0:29 / /elsewhere rw - tmpfs freezer rw,freezer\n- cgroup2\n - cgroup2 a b\n" +
		"nonsense\n"
	if got, want := parseMounts(text),
		(freezing{"/sys/fs/cgroup/unified", "/sys/fs/cgroup/freezer"}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := parseMounts(""); got != (freezing{}) {
		t.Errorf("%+v of nothing", got)
	}
}

// TestFreeze has what the files of a group may say, and lines of freezing that are not to be seen.
func TestFreeze(t *testing.T) {
	dir := t.TempDir()
	g := freezing{v2: filepath.Join(dir, "v2"), v1: filepath.Join(dir, "v1")}
	for file, text := range map[string]string{
		"v2/cold/cgroup.events": "populated 1\nfrozen 1\n",
		"v2/warm/cgroup.events": "populated 1\nfrozen 0\n",
		"v1/cold/freezer.state": "FROZEN\n", "v1/cooling/freezer.state": "FREEZING\n",
		"v1/warm/freezer.state": "THAWED\n",
	} {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for line, want := range map[string]bool{
		"0::/cold": true, "0::/warm": false, "0::/": false, "0::/gone (deleted)": false,
		"0::/../cold":     false,
		"6:freezer:/cold": true, "6:freezer:/cooling": true, "6:cpu,freezer:/cold": true,
		"6:freezer:/warm": false, "1:cpu:/cold": false,
		"freezer": false, "": false,
	} {
		if got, err := g.freezes(line); got != want ||
			errors.Is(err, ErrMalformed) != !strings.Contains(line, ":") {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
	for _, line := range []string{"0::/cold", "6:freezer:/cold"} {
		if frozen, err := (freezing{}).freezes(line); frozen || err != nil {
			t.Errorf("%s: %v, %v", line, frozen, err)
		}
	}
	if frozen, err := g.freezes("0::/" + strings.Repeat("x", 300)); frozen ||
		!errors.Is(err, unix.ENAMETOOLONG) {
		t.Errorf("a group whose file cannot be opened: %v, %v", frozen, err)
	}
}

// freezes reports whether the group of a line of /proc/PID/cgroup is frozen.
func (g freezing) freezes(line string) (bool, error) {
	controllers, group, err := splitGroup([]byte(line))
	if err != nil {
		return false, err
	}
	state := g.state(controllers, group)
	if state == "" {
		return false, nil
	}
	return anyFrozen([]string{state})
}

func FuzzFreeze(f *testing.F) {
	f.Add([]byte("0::/a"), "30 20 0:26 / /sys rw - cgroup2 cgroup2 rw\n")
	f.Add([]byte("6:freezer:/a"), "32 20 0:28 / /nowhere rw - cgroup cgroup rw,freezer\n")
	f.Fuzz(func(t *testing.T, line []byte, mounts string) {
		g := parseMounts(mounts)
		if g != (freezing{}) { // nothing outside of an empty directory is opened
			g = freezing{t.TempDir(), t.TempDir()}
		}
		if frozen, _ := g.freezes(string(line)); frozen {
			t.Error("frozen by nothing")
		}
	})
}
