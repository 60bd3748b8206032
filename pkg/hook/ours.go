package hook

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/lpbuild/lpbuild/pkg/ulp/process"
)

// lookTime is how long a process's file system may take to say what it has: it may be one that the process's owner made.
const lookTime = 2 * time.Second

// ours tells which processes belong to this system: those that see the folder of live patches as the same folder.
type ours struct {
	proc    string
	folders []string // absolute, as the processes see them
	infos   []os.FileInfo
	others  atomic.Int64 // processes that do not
}

// newOurs takes folders as this process sees them; seen says where the others do.
func newOurs(proc string, folders []string, seen func(string) string) (*ours, error) {
	o := &ours{proc: proc}
	for _, f := range folders {
		o.folders = append(o.folders, seen(f))
		info, err := os.Stat(f)
		if err != nil {
			return nil, err
		}
		o.infos = append(o.infos, info)
	}
	return o, nil
}

// has looks through a process's root folder. One that does not answer is not ours.
func (o *ours) has(ctx context.Context, p *process.Process) bool {
	if p.Denied {
		return true // what becomes of it is for the trigger to say
	}
	root := filepath.Join(o.proc, strconv.Itoa(p.PID), "root")
	answer := make(chan bool, 1)
	go func() {
		for i, folder := range o.folders {
			if info, err := os.Stat(root + folder); err == nil && os.SameFile(info, o.infos[i]) {
				answer <- true
				return
			}
		}
		answer <- false
	}()
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	select {
	case yes := <-answer:
		if !yes {
			o.others.Add(1)
		}
		return yes
	case <-ctx.Done():
		o.others.Add(1)
		return false
	}
}
