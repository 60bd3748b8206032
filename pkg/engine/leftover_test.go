package engine_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine"
)

func init() { jobs["dies writing"] = diesWriting }

// diesWriting applies a live patch, and is killed by the kernel when it writes so many bytes at
// once into a process.
func diesWriting() int {
	var pid int
	var size uint32
	var file string
	if _, err := fmt.Sscan(os.Getenv("ENGINE_TEST_PIDS"), &pid, &size, &file); err != nil {
		fmt.Println(err)
		return 1
	}
	const load, equal, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ |
		unix.BPF_K, unix.BPF_RET | unix.BPF_K
	filter := []unix.SockFilter{
		{Code: load, K: 0}, // the number of the call
		{Code: equal, Jf: 3, K: unix.SYS_PWRITE64},
		{Code: load, K: 32}, // its third argument
		{Code: equal, Jf: 1, K: size},
		{Code: ret, K: unix.SECCOMP_RET_KILL_PROCESS},
		{Code: ret, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_ = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program))); errno != 0 {
		fmt.Println(errno)
		return 1
	}
	cs, err := engine.ReadContainers(context.Background(), []string{file}, false)
	if err == nil {
		o := engine.Options{Containers: cs, Engines: onlyNative,
			Selector: engine.Selector{PID: pid}}
		_, err = engine.Run(context.Background(), o, func(r *engine.Report) {
			fmt.Println(r.Status, r.Err, r.Results)
		})
	}
	fmt.Println("not killed:", err)
	return 0
}

// TestLeftoverOfKilledRun: whatever a run leaves that is killed before it has mapped, marked,
// filled or switched to what it loads is shown by a survey, and is given back by a clean-up, and by
// the next change.
func TestLeftoverOfKilledRun(t *testing.T) {
	file := container(t, "a", 10)
	cs := read(t, file)
	for name, size := range map[string]int{"empty": 32, "half filled": 4096, "filled": 2} {
		c := start(t, "a", "", "left_killed")
		whole := func() string {
			maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", c.pid))
			must(t, err)
			return string(maps)
		}
		before := whole()
		for _, how := range []engine.Options{{Leftovers: true}, {Containers: cs}} {
			job := exec.Command(os.Args[0])
			job.Env = append(os.Environ(), "ENGINE_TEST_JOB=dies writing", "ENGINE_TEST_PIDS="+
				strconv.Itoa(c.pid)+" "+strconv.Itoa(size)+" "+file)
			out, err := job.CombinedOutput()
			if s, ok := job.ProcessState.Sys().(syscall.WaitStatus); !ok || !s.Signaled() ||
				s.Signal() != unix.SIGSYS {
				t.Fatalf("%s: %v: %s", name, err, out)
			}
			c.says(unpatched)
			if whole() == before {
				t.Fatalf("%s: nothing was left", name)
			}
			list, _, err := engine.Look(t.Context(), engine.SurveyOptions{Selector: c.selector(),
				Engines: auto()})
			if err != nil || len(list) != 1 || list[0].Left.Mappings == 0 || list[0].Patched() ||
				len(list[0].Kept) != map[string]int{"filled": 1}[name] {
				t.Errorf("%s: %+v, %v", name, list, err)
			}
			how.Engines = auto()
			c.is(engine.Changed, nil, c.one(how))
			if !how.Leftovers {
				c.says(tens10)
				how.Revert = true
				c.is(engine.Changed, nil, c.one(how))
			}
			c.says(unpatched)
			if now := whole(); now != before {
				t.Errorf("%s: not as before:\n%s\n%s", name, before, now)
			}
		}
		c.is(engine.Already, engine.ErrNothingLeft,
			c.one(engine.Options{Leftovers: true, Engines: auto()}))
	}
}
