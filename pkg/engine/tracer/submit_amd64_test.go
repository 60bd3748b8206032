package tracer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// spare is an address at which nothing is mapped.
const spare = 0x5_0000_0000

// atSpare are calls that map memory there, and sleep before the last one; at is where napAndName
// lies.
func atSpare(at uint64) []BatchCall {
	return []BatchCall{
		{Call: Call{Nr: unix.SYS_MEMFD_CREATE, Args: [6]uint64{at + 16}}},
		{Call: Call{Nr: unix.SYS_FTRUNCATE, Args: [6]uint64{0, 4096}}, Arg: 1, From: 0},
		{Call: Call{Nr: unix.SYS_MMAP, Args: [6]uint64{spare, 4096, unix.PROT_READ,
			unix.MAP_PRIVATE | unix.MAP_FIXED_NOREPLACE}}, Arg: 5, From: 0},
		{Call: Call{Nr: unix.SYS_NANOSLEEP, Args: [6]uint64{at}}},
		{Call: Call{Nr: unix.SYS_CLOSE}, Arg: 1, From: 0},
	}
}

// napAndName is what atSpare's pointers lead to.
func napAndName(nap time.Duration) []byte {
	ts := unix.NsecToTimespec(nap.Nanoseconds())
	b := binary.NativeEndian.AppendUint64(nil, uint64(ts.Sec))
	return append(binary.NativeEndian.AppendUint64(b, uint64(ts.Nsec)), "with blanks \x00"...)
}

func unmapSpare(uint64) []BatchCall {
	return []BatchCall{{Call: Call{Nr: unix.SYS_MUNMAP, Args: [6]uint64{spare, 4096}}}}
}

// TestSubmit: a thread makes its calls and is back with all its registers, without a stop after
// them; WhileRunning waits for one that is still on its way; and Detach lets one go its way.
func TestSubmit(t *testing.T) {
	for _, target := range []string{"spin", "tiles", "nokeys"} {
		t.Run(target, func(t *testing.T) { testSubmit(t, target) })
	}
}

func testSubmit(t *testing.T, target string) {
	c := startChecker(t, 2, target)
	o := Options{Gadgets: gadgets(t, c.pid), StopTimeout: 20 * time.Second}
	sent := 0
	for i := range 40 {
		nap := time.Duration(i%4) * 3 * time.Millisecond
		tr := attach(t, c.pid, o)
		th := tr.Threads()[i%2]
		err := tr.Submit(th, napAndName(nap), atSpare)
		if errors.Is(err, ErrNoBatch) { // it stopped just now in a system call
			detach(t, tr)
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		if err := tr.WhileRunning(t.Context(), nothing); err != nil {
			t.Fatal(err)
		}
		m, name, err := tr.Mapping(spare + 100)
		if err != nil || m != (Range{spare, spare + 4096}) ||
			name != "/memfd:with blanks  (deleted)" {
			t.Fatalf("%x %q %v", m, name, err)
		}
		if th.excursion != nil || th.regs.pc() == o.Gadgets.Syscall {
			t.Errorf("still on its way at %#x", th.regs.pc())
		}
		tr.noTrace(t, th)
		if err := tr.Submit(th, nil, unmapSpare); errors.Is(err, ErrNoBatch) {
			if _, err := tr.Syscalls(t.Context(), th, unmapSpare(0)[0].Call); err != nil {
				t.Fatal(err)
			}
		} else if err != nil {
			t.Fatal(err)
		}
		sent++
		gone := false
		tr.AfterDetach(func() {
			for deadline := time.Now().Add(20 * time.Second); !gone &&
				time.Now().Before(deadline); {
				_, _, err := tr.Mapping(spare)
				gone = err != nil
			}
		})
		detach(t, tr)
		if !gone {
			t.Fatal("the memory is still there")
		}
		c.goesOn()
	}
	if sent == 0 {
		t.Error("no thread was ever sent")
	}
}

// sent attaches to a process until its thread can be sent, and sends it.
func sent(t *testing.T, pid int, o Options, nap time.Duration) *Tracee {
	t.Helper()
	for t.Context().Err() == nil {
		tr := attach(t, pid, o)
		err := tr.Submit(tr.Threads()[0], napAndName(nap), atSpare)
		if err == nil {
			return tr
		}
		if detach(t, tr); !errors.Is(err, ErrNoBatch) {
			t.Fatal(err)
		}
	}
	return nil
}

// noTrace fails if what the calls have left on the stack looks like a pointer into the memory that
// they mapped.
func (t *Tracee) noTrace(tt *testing.T, th *Thread) {
	tt.Helper()
	b := make([]byte, batchRoom)
	stack, _ := t.mainStack()
	top, err := t.untouched(th, stack)
	if err == nil {
		_, err = t.mem.ReadAt(b, int64(top)-int64(len(b)))
	}
	if err != nil || !bytes.Contains(b, []byte(blockMagic)) {
		tt.Fatal(err)
	}
	for ; len(b) > 0; b = b[8:] {
		if v := binary.NativeEndian.Uint64(b); v >= spare && v < spare+4096 {
			tt.Errorf("%#x is on the stack", v)
		}
	}
}

// TestSubmitStopped: a SIGSTOP that comes on the way counts when the thread is back.
func TestSubmitStopped(t *testing.T) {
	c := startChecker(t, 1, "spin")
	o := Options{Gadgets: gadgets(t, c.pid), StopTimeout: 20 * time.Second}
	tr := sent(t, c.pid, o, 50*time.Millisecond)
	err := tr.WhileRunning(t.Context(), func() error { return unix.Kill(c.pid, unix.SIGSTOP) })
	if err != nil || tr.Threads()[0].excursion != nil || !tr.Threads()[0].GroupStop {
		t.Errorf("%+v %v", tr.Threads()[0], err)
	}
	if _, _, err := tr.Mapping(spare); err != nil {
		t.Error(err)
	}
	if err := tr.Submit(tr.Threads()[0], nil, unmapSpare); !errors.Is(err, ErrNoBatch) {
		t.Errorf("in a group stop: %v", err)
	}
	detach(t, tr)
	await(t, c.pid, "T")
	_ = unix.Kill(c.pid, unix.SIGCONT)
	c.goesOn()
}

// TestSubmitLate: a thread that is not back in time is left to come back by itself.
func TestSubmitLate(t *testing.T) {
	c := startChecker(t, 1, "spin")
	o := Options{Gadgets: gadgets(t, c.pid), StopTimeout: time.Second}
	tr := sent(t, c.pid, o, 3*time.Second)
	if err := tr.WhileRunning(t.Context(), nothing); !errors.Is(err, ErrNotStopping) ||
		len(tr.Threads()) != 0 {
		t.Errorf("%d threads, %v", len(tr.Threads()), err)
	}
	detach(t, tr)
	c.goesOn()
}

// TestSubmitRefused: in a thread that sleeps, and without the gadget, nothing happens.
func TestSubmitRefused(t *testing.T) {
	c := startChecker(t, 1, "pause")
	g := gadgets(t, c.pid)
	for _, keep := range []uint64{g.Keep, 0} {
		g.Keep = keep
		tr := attach(t, c.pid, Options{Gadgets: g})
		for !busy(tr.Threads()[0]) { // not yet, or not yet again
			detach(t, tr)
			tr = attach(t, c.pid, Options{Gadgets: g})
		}
		if err := tr.Submit(tr.Threads()[0], nil, unmapSpare); !errors.Is(err, ErrNoBatch) ||
			tr.Threads()[0].excursion != nil {
			t.Error(err)
		}
		detach(t, tr)
		c.goesOn()
	}
}

// busy reports whether a thread was stopped in a system call.
func busy(th *Thread) bool {
	_, _, busy := th.regs.inSyscall()
	return busy
}
