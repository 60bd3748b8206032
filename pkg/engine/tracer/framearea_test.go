package tracer

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
)

// TestForeignStack calls functions in a thread whose stack ends in the middle of other data. The
// target checks those.
func TestForeignStack(t *testing.T) {
	c := startChecker(t, 2, "coroutine")
	c.goesOn() // it is ready before it is on that stack
	g := gadgets(t, c.pid)
	for range 50 {
		tr := attach(t, c.pid, Options{Gadgets: g})
		for _, th := range tr.Threads() {
			if v, err := tr.Call(t.Context(), th, c.sum, 1, 2, 3, 4, 5, 6); v != 91 || err != nil {
				t.Fatal(v, err)
			}
		}
		detach(t, tr)
	}
	c.goesOn()
}

// TestPieces sends a thread away, in each way there is, whose stack is a piece of another one, with
// data of others right below.
func TestPieces(t *testing.T) {
	for deep := 4; deep <= 10; deep++ { // with AVX-512, frames are larger
		for n, who := range []string{"first", "other"} {
			c := start(t, program(t, "pieces", "-Wl,-z,now", "-O1", "-fno-stack-protector",
				"-U_FORTIFY_SOURCE", "-DDEEP="+itoa(deep)), who)
			sum, err := strconv.ParseUint(c.Line(), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			o := Options{Gadgets: gadgets(t, c.pid)}
			for range 3 {
				tr := attach(t, c.pid, o)
				for must(tr.IsSubmitted(tr.Threads()[n])) { // from the last time
					detach(t, tr)
					tr = attach(t, c.pid, o)
				}
				th := tr.Threads()[n]
				if v, err := tr.Call(t.Context(), th, sum, 1, 2); v != 3 || err != nil {
					t.Fatal(v, err)
				}
				if _, err := tr.Syscalls(t.Context(), th, Call{Nr: unix.SYS_GETPID}); err != nil {
					t.Fatal(err)
				}
				if _, err := tr.Batch(t.Context(), th, []byte("x\x00"), memoryFile); err != nil {
					t.Fatal(err)
				}
				err := tr.Submit(th, []byte("x\x00"), memoryFile)
				if err != nil && !errors.Is(err, ErrNoBatch) {
					t.Fatal(err)
				}
				detach(t, tr)
			}
			c.In.Close()
			if got := c.Line() + c.Line() + c.Line(); got != "000" || c.Wait() != 0 {
				t.Errorf("%d KiB deep, %s thread: %q bytes of what the coroutines keep have "+
					"changed", deep, who, got)
			}
		}
	}
}

// stackOf returns how large the first thread's stack is, and what of it is in memory, in KiB.
func stackOf(t *testing.T, pid int) (size, resident int) {
	t.Helper()
	b, err := os.ReadFile(taskPath(pid, pid, "smaps"))
	if err != nil {
		t.Fatal(err)
	}
	_, stack, _ := strings.Cut(string(b), "[stack]\n")
	for line := range strings.Lines(stack) {
		_, _ = fmt.Sscanf(line, "Size: %d", &size)
		if n, _ := fmt.Sscanf(line, "Rss: %d", &resident); n == 1 {
			break
		}
	}
	return size, resident
}

// TestAreaUsedAgain: memory that was used once is used again, whoever used it: neither the stack
// nor what of it is in memory grows from then on, even if the tracer was killed. The program's own
// pages are never taken for unused.
func TestAreaUsedAgain(t *testing.T) {
	for _, mode := range []string{"syscalls", "batch"} {
		c := startChecker(t, 1, "spin")
		for range 3 {
			if b, err := startEngine(c, oneRound, mode).Output(); err != nil {
				t.Fatalf("%v: %s", err, b)
			}
		}
		size, resident := stackOf(t, c.pid)
		for range 3 {
			if b, err := startEngine(c, oneRound, mode).Output(); err != nil {
				t.Fatalf("%v: %s", err, b)
			}
		}
		killed := 0
		for n := range 40 {
			if targettest.Killed(startEngine(c, n, mode).Run()) {
				killed++
			}
			c.goesOn()
		}
		if killed < 20 {
			t.Errorf("%s: killed %d times", mode, killed)
		}
		nowSize, now := stackOf(t, c.pid)
		if nowSize != size || now != resident {
			t.Errorf("%s: the stack has grown from %d to %d KiB, %d KiB more in memory", mode, size,
				nowSize, now-resident)
		}
	}
}

// TestAreaUsedBySmaller: memory in which a tracer left a large block is known to be unused also
// where a later one has left a smaller block in it.
func TestAreaUsedBySmaller(t *testing.T) {
	c := startChecker(t, 1, "spin")
	o := Options{Gadgets: gadgets(t, c.pid)}
	var lowest []uint64
	for _, size := range []int{3 << 12, 3 << 12, 8, 3 << 12, 8, 2 << 12} {
		submitted := false
		for end := time.Now().Add(10 * time.Second); !submitted && time.Now().Before(end); {
			tr := attach(t, c.pid, o)
			if th := tr.Threads()[0]; !must(tr.IsSubmitted(th)) {
				err := tr.Submit(th, make([]byte, size), memoryFile)
				// it may still be in the system call that printed its first line
				if err != nil && !errors.Is(err, ErrNoBatch) {
					t.Fatal(err)
				}
				submitted = err == nil
			}
			detach(t, tr)
		}
		if !submitted {
			t.Fatal("the thread took no calls for 10 s")
		}
		c.goesOn()
		tr := attach(t, c.pid, o)
		_ = tr.Do(func() error {
			stack := must(tr.mainStack())
			pages := must(tr.pagemap(stack.Range))
			lowest = append(lowest, stack.Start+uint64(slices.IndexFunc(pages, pageState.touched))*
				pageSize)
			return nil
		})
		detach(t, tr)
	}
	for _, at := range lowest[1:] {
		if at != lowest[0] {
			t.Fatalf("the lowest pages in memory are at %#x: not all was used again", lowest)
		}
	}
}

// TestOurPages: what was written once is known again only if not a bit has changed, but where the
// thread itself writes.
func TestOurPages(t *testing.T) {
	c := startChecker(t, 1, "spin")
	tr := attach(t, c.pid, Options{Gadgets: gadgets(t, c.pid)})
	defer detach(t, tr)
	th := tr.Threads()[0]
	_ = tr.Do(func() error {
		if _, err := tr.prepareBatch(th, []byte("x\x00"), memoryFile, chainPlaces); err != nil {
			t.Fatal(err)
		}
		ex := th.excursion
		th.excursion = nil
		at, n := ex.lowest(), (ex.area.End-ex.lowest())/pageSize
		if got := tr.ourPages(th, at, n); got != n {
			t.Errorf("%d of %d pages are known", got, n)
		}
		b := make([]byte, n*pageSize)
		if _, err := tr.mem.ReadAt(b, int64(at)); err != nil {
			t.Fatal(err)
		}
		slots := map[int]bool{}
		for _, s := range ex.sigframe.slots {
			slots[int(ex.sigframe.base-at)+s] = true
		}
		if len(slots) != 10 { // six results, and four arguments that are such
			t.Errorf("%d slots", len(slots))
		}
		for i := range b {
			b[i] ^= 0x10
			own := slots[i&^7]
			if known := blockLen(b) == n && isBlock(b); known != own {
				t.Errorf("byte %d changed, which is the thread's: %v; known: %v", i, own, known)
			}
			b[i] ^= 0x10
		}
		if err := tr.leaveArea(th, ex); err != nil {
			t.Fatal(err)
		}
		if got := tr.ourPages(th, at, n); got != 1 {
			t.Errorf("%d pages are known", got)
		}
		if _, err := tr.mem.WriteAt([]byte{0}, int64(at)+77); err != nil {
			t.Fatal(err)
		}
		if got := tr.ourPages(th, at, n); got != 0 {
			t.Error("a page of the program's is taken for an unused one")
		}
		return nil
	})
}

// TestNoRoom calls a function where the stack may not grow any more, and in a thread with a small
// one.
func TestNoRoom(t *testing.T) {
	c := start(t, program(t, "life"), "smallstack")
	g := gadgets(t, c.pid)
	tr := attach(t, c.pid, Options{Gadgets: g})
	for i, th := range tr.Threads() {
		_, err := tr.Call(t.Context(), th, 4096) // never gets there
		if !errors.Is(err, ErrStack) {
			t.Errorf("thread %d: %v", i, err)
		}
	}
	detach(t, tr)
	c.In.Close()
	if got, code := c.Line(), c.Wait(); got != "whole" || code != 0 {
		t.Errorf("%q, exit code %d", got, code)
	}
}

// TestMapping compares both ways to find a mapping.
func TestMapping(t *testing.T) {
	c := startChecker(t, 2)
	tr := attach(t, c.pid, Options{})
	for _, addr := range []uint64{0, tr.Threads()[0].PC(), tr.Threads()[0].SP(),
		tr.Threads()[1].SP(), c.sum, 1 << 40} {
		r, err := tr.mapping(addr)
		maps, openErr := os.ReadFile(taskPath(c.pid, c.pid, "maps"))
		if openErr != nil {
			t.Fatal(openErr)
		}
		want, path, wantErr := findMapping(strings.NewReader(string(maps)), addr)
		if r != want || errors.Is(err, errUnmapped) != errors.Is(wantErr, errUnmapped) {
			t.Errorf("%#x: %x, %v; want %x, %v", addr, r, err, want, wantErr)
		}
		wantStack := path == "[stack]" && want.Start <= addr
		if r, stack := tr.space.initialStack(addr); stack != wantStack || stack && r != want {
			t.Errorf("%#x: initial stack %v, %x; want %v, %x", addr, stack, r, wantStack, want)
		}
	}
	if _, _, err := findMapping(strings.NewReader("no such line\n"), 1); err == nil {
		t.Error("nonsense was read")
	}
}
