package procfs

import (
	"bytes"
	"math"
	"strconv"
)

// Limits of a process, by their names in /proc/PID/limits.
const (
	LimitFileSize = "Max file size"
	LimitStack    = "Max stack size"
)

// Unlimited is a limit that is none.
const Unlimited = math.MaxUint64

// Limit returns a resource limit of the process: the soft one, and the hard one.
func (d *Dir) Limit(tid int, name string) (soft, hard uint64, err error) {
	found, file := false, TaskFile(tid, "limits")
	err = d.Lines(file, func(line []byte) (err error) {
		values, ok := bytes.CutPrefix(line, []byte(name+" "))
		if !ok || found {
			return nil
		}
		found = true
		soft, hard, err = parseLimit(values)
		return err
	})
	if err == nil && !found {
		err = d.fail(file, malformed("no %s", name))
	}
	return soft, hard, err
}

// parseLimit reads "SOFT HARD UNIT".
func parseLimit(values []byte) (soft, hard uint64, err error) {
	fields := bytes.Fields(values)
	if len(fields) < 2 {
		return 0, 0, malformed("a limit of %d fields", len(fields))
	}
	var n [2]uint64
	for i := range n {
		if n[i] = Unlimited; string(fields[i]) == "unlimited" {
			continue
		}
		if n[i], err = strconv.ParseUint(string(fields[i]), 10, 64); err != nil {
			return 0, 0, malformed("a limit that is not a number")
		}
	}
	return n[0], n[1], nil
}
