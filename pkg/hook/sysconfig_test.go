package hook

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine"
	rpmhelper "github.com/lpbuild/lpbuild/rpm-helper"
)

func TestParseSysconfig(t *testing.T) {
	got := parseSysconfig([]byte("# comment\n A=auto\nB=\"never\"  # why\nC='al ways'\nexport " +
		"D=never\nE=\n" +
		"F=$(id)\nG=\"open\nH=a b\nI=\"a\"b\n1=x\nJ K=x\nL = " +
		"x\n=x\nA=never\nM=`id`\nN=\"$X\"\nO=never#x\n\x00P=x\n"))
	want := config{
		"A": "never", "B": "never", "C": "al ways", "D": "never", "E": "", "F": "$(id)",
		"M": "`id`", "N": "$X", "O": "never#x",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("parseSysconfig (-want +got):\n%s", d)
	}
}

func TestSetting(t *testing.T) {
	for text, want := range map[string]setting{
		"": settingAuto, "LIVEPATCH_GLIBC=never": settingNever,
		"LIVEPATCH_GLIBC_LIVEPATCHES=always\nLIVEPATCH_GLIBC=never": settingAlways,
		"LIVEPATCH_USERSPACE=never":                                 settingNever,
		"LIVEPATCH_USERSPACE=never\nLIVEPATCH_GLIBC=auto":           settingAuto,
		"LIVEPATCH_OPENSSL=never":                                   settingAuto,
		"LIVEPATCH_GLIBC=":                                          settingAuto,
		"LIVEPATCH_KERNEL=never":                                    settingAuto,
	} {
		if got, err := parseSysconfig([]byte(text)).setting("glibc-livepatches"); got != want ||
			err != nil {
			t.Errorf("%q: %s, %v, want %s", text, got, err, want)
		}
	}
	got, err := config{"LIVEPATCH_USERSPACE": "NEVER\x1b"}.setting("a")
	if got != settingAuto || err == nil || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("%s, %v", got, err)
	}
}

// TestSettingBy reports to the administrator the variable in effect, and the values that have no
// effect.
func TestSettingBy(t *testing.T) {
	for _, name := range variables("target-livepatches") {
		root := tree(t, map[string]string{at("1"): "", sysconfigFile: name + "=never"})
		o, err := Run(t.Context(), Request{Action: Install, Package: "target-livepatches",
			Version: "1", Count: 1, Root: root, Proc: "/proc"})
		if want := name + "=never in /" + sysconfigFile; err != nil || o.Nothing != want {
			t.Errorf("%s, %v, want %s", o.Nothing, err, want)
		}
	}
	right := "LIVEPATCH_DEADLINE=10m\nLIVEPATCH_ENGINE=pulp\nLIVEPATCH_CONSISTENCY=none\n" +
		"LIVEPATCH_SECCOMP=suspend\n" +
		"LIVEPATCH_MAX_STOP=1ms\nLIVEPATCH_REVERT_ON_REMOVE=no\n"
	if got := parseSysconfig([]byte(right)).mistakes(); len(got) > 0 {
		t.Errorf("%q", got)
	}
	wrong := "LIVEPATCH_DEADLINE=7\nLIVEPATCH_ENGINE=libpulp\nLIVEPATCH_CONSISTENCY=yes\n" +
		"LIVEPATCH_SECCOMP=Suspend\n" +
		"LIVEPATCH_MAX_STOP=0\nLIVEPATCH_REVERT_ON_REMOVE=true\n"
	root := tree(t, map[string]string{at("1"): "", sysconfigFile: wrong})
	o, _ := Run(t.Context(), Request{Action: Install, Package: "target-livepatches", Version: "1",
		Count: 1, Root: root, Proc: "/proc"})
	for line := range strings.Lines(wrong) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		said := fmt.Sprintf("%s=%q in /%s: must be ", name, value, sysconfigFile)
		if !slices.ContainsFunc(o.Notes, func(note string) bool {
			return strings.HasPrefix(note, said)
		}) {
			t.Errorf("%s%s is not reported: %q", name, value, o.Notes)
		}
	}
}

// TestSysconfigFile does not use a FIFO, a directory, or an endless file, and waits for nothing.
func TestSysconfigFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "livepatching")
	if c, err := readSysconfig(name); err != nil || len(c) != 0 {
		t.Errorf("without a file: %v, %v", c, err)
	}
	for what, make := range map[string]func() error{
		"FIFO":      func() error { return unix.Mkfifo(name, 0o644) },
		"directory": func() error { return os.Mkdir(name, 0o755) },
		"device":    func() error { return os.Symlink("/dev/zero", name) },
		"large": func() error {
			return os.WriteFile(name, make([]byte, maxSysconfig+1), 0o644)
		},
	} {
		check(t, os.RemoveAll(name))
		check(t, make())
		if c, err := readSysconfig(name); err == nil || len(c) != 0 {
			t.Errorf("%s: %v, %v", what, c, err)
		}
	}
}

func TestConfiguredDeadline(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": DefaultDeadline, "LIVEPATCH_DEADLINE=45s": 45 * time.Second,
		"LIVEPATCH_DEADLINE=1000h": DefaultDeadline,
		"LIVEPATCH_DEADLINE=-1s":   DefaultDeadline, "LIVEPATCH_DEADLINE=soon": DefaultDeadline,
	} {
		if got := ConfiguredDeadline(tree(t, map[string]string{sysconfigFile: text})); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestConfiguredEngine(t *testing.T) {
	for text, want := range map[string]string{
		"": "auto", "LIVEPATCH_ENGINE=native": "native", "LIVEPATCH_ENGINE='pulp'": "pulp",
		"LIVEPATCH_ENGINE=magic": "auto", "LIVEPATCH_ENGINE=$(id)": "auto",
	} {
		if got := ConfiguredEngine(tree(t, map[string]string{sysconfigFile: text})); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestConfiguredConsistency(t *testing.T) {
	for text, want := range map[string]string{
		"": "none", "LIVEPATCH_CONSISTENCY=functions # all": "functions",
		"LIVEPATCH_CONSISTENCY=none": "none", "LIVEPATCH_CONSISTENCY=threads": "none",
	} {
		if got := ConfiguredConsistency(tree(t,
			map[string]string{sysconfigFile: text})); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func FuzzParseSysconfig(f *testing.F) {
	f.Add([]byte("A=auto\nB=\"never\" # x\nexport C='a b'\n"))
	f.Add([]byte("A=\"\nB='\n=\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for name, value := range parseSysconfig(data) {
			if !isVariable(name) || strings.ContainsAny(value, "\n") {
				t.Errorf("%q=%q", name, value)
			}
		}
		c := parseSysconfig(data)
		if s, _ := c.setting("glibc-livepatches"); s != settingAuto && s != settingAlways &&
			s != settingNever {
			t.Errorf("setting %q", s)
		}
	})
}

// TestSysconfigTemplate checks that the template has exactly the existing settings, with their
// defaults.
func TestSysconfigTemplate(t *testing.T) {
	text, err := rpmhelper.FS.ReadFile("sysconfig.livepatching-lpbuild")
	check(t, err)
	want := config{"LIVEPATCH_USERSPACE": "auto", "LIVEPATCH_DEADLINE": "30s",
		"LIVEPATCH_SECCOMP": "obey", "LIVEPATCH_MAX_STOP": "500ms", "LIVEPATCH_ENGINE": "auto",
		"LIVEPATCH_CONSISTENCY": "none", "LIVEPATCH_REVERT_ON_REMOVE": "no"}
	c := parseSysconfig(text)
	if d := cmp.Diff(want, c); d != "" {
		t.Errorf("the template (-want +got):\n%s", d)
	}
	if s, err := c.setting("glibc-livepatches"); s != settingAuto || err != nil ||
		c.revertOnRemove() {
		t.Errorf("its settings are not the defaults: %s, %v", s, err)
	}
	root := tree(t, map[string]string{sysconfigFile: string(text)})
	if d, e := ConfiguredDeadline(root), ConfiguredEngine(root); d != DefaultDeadline ||
		e != ConfiguredEngine(t.TempDir()) {
		t.Errorf("its deadline and its engine are not the defaults: %v, %s", d, e)
	}
	if d := ConfiguredMaxStop(root); d != ConfiguredMaxStop(t.TempDir()) {
		t.Errorf("its longest stop is not the default: %v", d)
	}
	for line := range strings.Lines(string(text)) { // fillup regards exactly such lines as comments
		if line != "\n" && line[0] != '#' && !strings.HasPrefix(line, "LIVEPATCH_") {
			t.Errorf("%q is neither a comment nor a setting", line)
		}
	}
}

func TestConfiguredSeccomp(t *testing.T) {
	for text, want := range map[string]string{
		"": "obey", "LIVEPATCH_SECCOMP=suspend\n": "suspend",
		"LIVEPATCH_SECCOMP=\"obey\"\n": "obey", "LIVEPATCH_SECCOMP=never\n": "obey",
	} {
		if got := ConfiguredSeccomp(tree(t, map[string]string{sysconfigFile: text})); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestConfiguredMaxStop(t *testing.T) {
	const usual = engine.DefaultMaxStop
	for text, want := range map[string]time.Duration{
		"": usual, "LIVEPATCH_MAX_STOP=20ms\n": 20 * time.Millisecond,
		"LIVEPATCH_MAX_STOP=\"1m\"\n": time.Minute, "LIVEPATCH_MAX_STOP=20\n": usual,
		"LIVEPATCH_MAX_STOP=0\n": usual, "LIVEPATCH_MAX_STOP=-1s\n": usual,
		"LIVEPATCH_MAX_STOP=1h\n": usual,
	} {
		if got := ConfiguredMaxStop(tree(t, map[string]string{sysconfigFile: text})); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// TestLateLine checks that a scriptlet prints how many stops took longer than the administrator
// wants, and that the log names the processes.
func TestLateLine(t *testing.T) {
	rep := &engine.Report{PID: 4711, Name: "mysqld", Status: engine.Changed, Late: true,
		Stop: 612 * time.Millisecond}
	o := &Outcome{Summary: engine.Summary{Changed: 1, Late: 1, LongestStop: rep.Stop}}
	o.add(rep)
	if lines := o.Lines(); !slices.Contains(lines, "processes stopped for longer than "+
		"LIVEPATCH_MAX_STOP: 1, the longest for 612 ms") {
		t.Errorf("%q", lines)
	}
	if !slices.Contains(o.Log, "mysqld (4711): stopped for 612 ms, longer than "+
		"LIVEPATCH_MAX_STOP") {
		t.Errorf("%q", o.Log)
	}
}
