package process

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/lpbuild/lpbuild/pkg/engine/internal/forged"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"golang.org/x/sys/unix"
)

const (
	auxv64 = "\x33\x00\x00\x00\x00\x00\x00\x00\x30\x0d\x00\x00\x00\x00\x00\x00" +
		"\x03\x00\x00\x00\x00\x00\x00\x00\x40\x00\x40\x00\x00\x00\x00\x00" +
		"\x07\x00\x00\x00\x00\x00\x00\x00\x00\x10\xff\xf7\xff\x7f\x00\x00" +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	auxv32 = "\x20\x00\x00\x00\xe0\xb5\xf7\xf7\x03\x00\x00\x00" +
		"\x34\x80\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00"
)

func TestParseAuxv(t *testing.T) {
	tests := map[string]struct {
		in   string
		want *auxv // nil: malformed
	}{
		"64 bits":   {auxv64, &auxv{phdr: 0x400040, base: 0x7ffff7ff1000}},
		"32 bits":   {auxv32, &auxv{bits32: true, phdr: 0x8048034}},
		"empty":     {"", &auxv{}},
		"short":     {auxv64[:7], nil},
		"no end":    {auxv64[:48], nil},
		"no end 32": {auxv32[:16], nil},
	}
	for name, tc := range tests {
		got, err := parseAuxv([]byte(tc.in))
		if d := cmp.Diff(tc.want, got, cmp.AllowUnexported(auxv{})); d != "" ||
			(err != nil) != (tc.want == nil) {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, d)
		}
	}
}

func TestPermString(t *testing.T) {
	for p, want := range map[rtld.Perm]string{0: "---p", rtld.PermRead | rtld.PermExec: "r-xp",
		rtld.PermRead | rtld.PermWrite | rtld.PermExec | rtld.PermShared: "rwxs"} {
		if p.String() != want {
			t.Errorf("Perm(%d) = %s, want %s", p, p, want)
		}
	}
}

// parseCgroup looks for a container in a line of /proc/PID/cgroup.
func parseCgroup(line []byte) (Container, error) {
	_, group, err := splitGroup(line)
	if err != nil {
		return Container{}, err
	}
	return containerOf(group), nil
}

func TestParseCgroup(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	inner := strings.Repeat("fedcba9876543210", 4)
	tests := map[string]string{
		"0::/": "",
		"0::/user.slice/user-1000.slice/session-2.scope": "",
		"0::/system.slice/docker-" + id +
			".scope": "docker:" + id,
		"5:devices:/docker/" +
			id: "docker:" + id,
		"0::/docker/" + id + "/docker/" +
			inner: "docker:" + inner,
		"0::/system.slice/docker-" + id +
			".scope/init.scope": "docker:" + id,
		"0::/machine.slice/libpod-" + id +
			".scope/container": "podman:" + id,
		"0::/machine.slice/libpod-conmon-" + id +
			".scope": "",
		"0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1_2.slice/crio-" + id +
			".scope": "cri-o:" + id,
		"0::/kubepods.slice/kubepods-burstable-pod1_2.slice/cri-containerd-" + id +
			".scope": "containerd:" + id,
		"0::/system.slice/containerd.service/kubepods-burstable-pod1.slice:cri-containerd:" +
			id: "containerd:" + id,
		"3:cpu:/kubepods/burstable/pod0a1b-22/" + id:           "kubernetes:" + id,
		"0::/machine.slice/systemd-nspawn@web.service/payload": "systemd-nspawn:web",
		`0::/machine.slice/machine-a\x2db.scope`:               "machine:a-b",
		"0::/lxc.payload.web/system.slice":                     "lxc:web",
		"4:memory:/lxc/web":                                    "lxc:web",
		"0::/lxc.monitor.web":                                  "",
		"0::/system.slice/docker-" + id[:63] + ".scope":        "",
		"0::/machine.slice/machine-\x1b[31m.scope":             "",
	}
	for line, want := range tests {
		got, err := parseCgroup([]byte(line))
		if err != nil || got.String() != want {
			t.Errorf("parseCgroup(%q) = %q, %v, want %q", line, got, err, want)
		}
	}
	if c, err := parseCgroup([]byte("0:")); !errors.Is(err, ErrMalformed) || c != (Container{}) {
		t.Errorf("parseCgroup: %v, %v", c, err)
	}
}

func TestParseEnviron(t *testing.T) {
	long := strings.Repeat("x", maxVariable+1)
	tests := map[string]struct {
		in      string
		want    map[string]string
		broken  bool
		wantErr error
	}{
		"first wins":   {"A=1\x00A=2\x00", map[string]string{"A": "1"}, false, nil},
		"no NUL":       {"B=1\x00A=2", map[string]string{"A": "2"}, false, nil},
		"empty":        {"", map[string]string{}, false, nil},
		"similar":      {"AA=1\x00A\x00=A\x00LONG\x00LONGER=2\x00", map[string]string{}, true, nil},
		"overwritten":  {"a title\x00\x00\x00\x00A=1\x00", map[string]string{"A": "1"}, true, nil},
		"by nothing":   {"\x00\x00", map[string]string{}, true, nil},
		"by words":     {"A=1\x00a title", map[string]string{"A": "1"}, true, nil},
		"others long":  {"C=" + long + "\x00A=1\x00", map[string]string{"A": "1"}, false, nil},
		"long":         {"LONG_NAME=" + long + "\x00", nil, false, ErrLimit},
		"far too long": {strings.Repeat("C=1\x00", maxEnviron/4) + "A=1\x00", nil, false, ErrLimit},
	}
	for name, tc := range tests {
		for kind, r := range map[string]io.Reader{"whole": strings.NewReader(tc.in),
			"halves": iotest.HalfReader(strings.NewReader(tc.in))} {
			e, err := parseEnviron(r, []string{"A", "LONG_NAME"})
			if err != nil {
				e = &environ{}
			}
			if d := cmp.Diff(tc.want, e.found); d != "" || !errors.Is(err, tc.wantErr) ||
				e.broken != tc.broken {
				t.Errorf("%s, %s: broken %v, %v (-want +got):\n%s", name, kind, e.broken, err, d)
			}
		}
	}
	one, err := parseEnviron(iotest.OneByteReader(strings.NewReader("AB=0\x00A=1\x00")),
		[]string{"A"})
	if err != nil || one.found["A"] != "1" || one.broken {
		t.Errorf("byte by byte: %v, %v", one, err)
	}
	broken := errors.New("broken")
	if got, err := parseEnviron(iotest.ErrReader(broken), nil); !errors.Is(err, broken) ||
		got != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// What is printed of a process's state is the kernel's letter, and errors have no words of the
// process.
func TestStrings(t *testing.T) {
	got := fmt.Sprint(Zombie, State(0), SeccompNone, SeccompStrict, SeccompFilter, Seccomp(9),
		EntryNOPs, EntryDetour, EntryUnknown)
	if got != "Z ? none strict filter seccomp 9 NOPs detour unknown" {
		t.Error(got)
	}
	err := lookError(7, "mem", unix.EACCES)
	if err.Error() != "process 7: mem: "+ErrPermission.Error() || lookError(8, "x", err) != err ||
		lookError(7, "x", nil) != nil {
		t.Error(err)
	}
}

func TestPrologueOfPower(t *testing.T) {
	const nop, std, toc = "\x00\x00\x00\x60", "\xf8\xff\xa1\xf8", "\x02\x00\x4c\x3c\x00\x80\x42\x38"
	nops := strings.Repeat(nop, 13)
	detour := std + strings.Repeat(nop, 10) + "\x88\x77\x66\x55\x44\x33\x22\x11"
	tests := map[string]struct {
		before, after string
		want          Prologue
	}{
		"NOPs":      {nops, nop, Prologue{State: EntryNOPs, Single: true}},
		"NOPs, TOC": {nops, toc + nop, Prologue{State: EntryNOPs, Single: true, Landing: true}},
		"detour": {detour, "\xcc\xff\xff\x4b", Prologue{State: EntryDetour,
			Target: 0x1122334455667788}},
		"detour, TOC": {detour, toc + "\xc4\xff\xff\x4b", Prologue{State: EntryDetour,
			Target: 0x1122334455667788, Landing: true}},
		"taken back": {detour, nop, Prologue{State: EntryNOPs, Single: true,
			Stale: 0x1122334455667788}},
		"other branch": {detour, "\xc8\xff\xff\x4b", Prologue{}},
		"no NOPs":      {nops[4:] + std, nop, Prologue{}},
	}
	for name, tc := range tests {
		m := forged.Memory{0x1000: []byte(tc.before + tc.after + strings.Repeat(std, 3))}
		got, err := readPrologue(m, 0x1000+52, "ppc64le")
		if d := cmp.Diff(&tc.want, got,
			cmpopts.IgnoreFields(Prologue{}, "Before", "After")); err != nil || d != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, d)
		}
	}
}
