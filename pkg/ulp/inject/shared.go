package inject

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/ulp/process"
)

// Bounds of what is looked at for [checkShared].
const (
	maxSharers  = 4096     // threads, whose children are listed one by one
	maxChildren = 64 << 10 // bytes of one list
	kcmpVM      = 1        // KCMP_VM of kcmp(2)
)

// checkShared returns ErrShared for a process whose memory its parent or a child has too, without being a thread of it
// (CLONE_VM): that one would go on running while the memory is changed, and nobody would look where it stands. Where the
// kernel does not tell, it is taken to be alone, as nearly all are.
func checkShared(p *process.Process) error {
	if p.ParentPID > 0 && sameMemory(p.PID, p.ParentPID) {
		return fmt.Errorf("process %d: %w", p.ParentPID, ErrShared)
	}
	folder := fmt.Sprintf("/proc/%d/task", p.PID)
	d, err := os.Open(folder)
	if err != nil {
		return nil //nolint:nilerr // it has ended, which is found soon enough
	}
	defer d.Close()
	tids, _ := d.Readdirnames(maxSharers)
	for _, name := range tids {
		tid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		for _, child := range children(folder + "/" + name + "/children") {
			if sameMemory(tid, child) {
				return fmt.Errorf("process %d: %w", child, ErrShared)
			}
		}
	}
	return nil
}

// children reads a list of processes.
func children(path string) []int {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, maxChildren))
	var list []int
	for word := range strings.FieldsSeq(string(b)) {
		if pid, err := strconv.Atoi(word); err == nil {
			list = append(list, pid)
		}
	}
	return list
}

// sameMemory says whether two tasks are known to have one address space.
func sameMemory(a, b int) bool {
	unequal, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), kcmpVM, 0, 0, 0)
	return errno == 0 && unequal == 0
}
