package engine_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// probesOf returns what the survey tells of probes.
func (c *child) probesOf(o engine.SurveyOptions) (list []string) {
	c.t.Helper()
	o.Selector, o.Engines = c.selector(), auto()
	surveys, _, err := engine.Look(c.t.Context(), o)
	if err != nil || len(surveys) != 1 || surveys[0].Err != nil || surveys[0].ProbesErr != nil {
		c.t.Fatalf("%+v, %v", surveys, err)
	}
	for _, p := range surveys[0].Probes {
		list = append(list, fmt.Sprintf("%s %s %q %v", p.Library, p.Function, p.Event, p.Set))
	}
	return list
}

// offsetOf returns where in its file a function of the library is.
func offsetOf(t *testing.T, c *child, name string) (file string, offset uint64) {
	t.Helper()
	p, err := process.Look(t.Context(), c.pid, process.Options{})
	must(t, err)
	view, err := engine.OpenView(t.Context(), p)
	must(t, err)
	defer view.Memory.Close()
	for _, l := range view.Libraries {
		if l.SONAME != "libtarget.so" {
			continue
		}
		symbols, err := view.Memory.Symbols(t.Context(), l)
		must(t, err)
		s, err := symbols.Lookup(t.Context(), name, "")
		must(t, err)
		seg := l.Segment(s.Addr)
		return l.Path, s.Addr - seg.Start + seg.Offset
	}
	t.Fatal("no library")
	return "", 0
}

// TestProbes: the survey tells of probes where functions begin: of one that perf_event_open sets,
// and of one of tracefs, which is told by its name, also before it is enabled; and of none when
// they are gone, or are somewhere else.
func TestProbes(t *testing.T) {
	c := start(t, "a", "", "probes")
	file, offset := offsetOf(t, c, "two")
	none := func(what string) {
		t.Helper()
		if list := c.probesOf(engine.SurveyOptions{}); len(list) != 0 {
			t.Errorf("%s: %q", what, list)
		}
	}
	none("nothing is set")
	c.is(engine.Changed, nil,
		c.one(engine.Options{
			Containers: read(t, pack(t, "a", "libtarget_probes.so", 10, "one:one_lp")),
			Engines:    onlyNative}))
	none("a live patch is no probe")
	for name, at := range map[string]uint64{"": offset + 1, "two": offset} {
		remove := perfProbe(t, c.pid, file, at)
		want := map[string]string{"": "[]", "two": `["libtarget.so two \"\" true"]`}[name]
		if list := c.probesOf(engine.SurveyOptions{}); fmt.Sprintf("%q", list) != want {
			t.Errorf("set by perf_event_open at %#x: %q", at, list)
		}
		remove()
	}
	none("it was removed")

	tracing := mountTracefs(t)
	write := func(file, line string) {
		t.Helper()
		f, err := os.OpenFile(filepath.Join(tracing, file), os.O_WRONLY|os.O_APPEND, 0)
		must(t, err)
		defer f.Close()
		_, err = f.WriteString(line)
		must(t, err)
	}
	event := "lpbuild_test_" + strconv.Itoa(os.Getpid()) + "/two"
	write("uprobe_events", fmt.Sprintf("p:%s %s:%#x\n", event, file, offset))
	t.Cleanup(func() { write("uprobe_events", "-:"+event+"\n") })
	o := engine.SurveyOptions{Tracing: tracing}
	for _, on := range []string{"0", "1", "0"} {
		write(filepath.Join("events", event, "enable"), on)
		if list := c.probesOf(o); len(list) != 1 || list[0] != fmt.Sprintf("libtarget.so two %q %v",
			event, on == "1") {
			t.Errorf("enabled: %s: %q", on, list)
		}
	}
	c.says("10 2 3 107")
}

// TestProbeOnTheOnlyFunction: a library stays one that can be patched if a probe is set on the only
// function that has NOPs.
func TestProbeOnTheOnlyFunction(t *testing.T) {
	lib := gcc(t, "onlyprobed/libtarget.so", "library.c", "-shared", "-fPIC", "-Wl,--build-id",
		"-Wl,-soname,libtarget.so", "-DONLY", "-DSTOCK")
	c := start(t, "a", "", "onlyprobed", "LD_LIBRARY_PATH="+filepath.Dir(lib))
	file, offset := offsetOf(t, c, "two")
	for _, when := range []string{"without a probe", "with one"} {
		list, _, err := engine.Look(t.Context(), engine.SurveyOptions{Selector: c.selector(),
			Engines: auto()})
		must(t, err)
		if len(list) != 1 {
			t.Fatalf("%s: %d processes", when, len(list))
		}
		s := list[0]
		if len(s.Libraries) != 1 || s.Libraries[0].Name != "libtarget.so" ||
			len(s.Libraries[0].BuildID) == 0 {
			t.Errorf("%s: %+v", when, s.Libraries)
		}
		remove := perfProbe(t, c.pid, file, offset)
		defer remove()
	}
}

// perfProbe sets a uprobe in one process.
func perfProbe(t *testing.T, pid int, file string, offset uint64) (remove func()) {
	t.Helper()
	text, err := os.ReadFile("/sys/bus/event_source/devices/uprobe/type")
	if err != nil {
		t.Skipf("this kernel has no uprobes: %v", err)
	}
	kind, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	path, err := unix.BytePtrFromString(file)
	must(t, err)
	attr := unix.PerfEventAttr{Type: uint32(kind), Ext1: uint64(uintptr(unsafe.Pointer(path))),
		Ext2: offset}
	attr.Size = uint32(unsafe.Sizeof(attr))
	fd, err := unix.PerfEventOpen(&attr, pid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		t.Skipf("the kernel lets this user set no probes: %v", err)
	}
	must(t, err)
	return func() { _ = unix.Close(fd) }
}

// mountTracefs mounts it for this test.
func mountTracefs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tracefs", dir, "tracefs", 0, ""); err != nil {
		t.Skipf("the probes of tracefs: it cannot be mounted: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, 0)) })
	return dir
}
