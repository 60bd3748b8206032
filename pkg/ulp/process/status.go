package process

import (
	"bytes"
	"io"
	"strconv"
)

// Seccomp is a process's system call filter.
type Seccomp int

// Modes of seccomp.
const (
	SeccompNone   Seccomp = iota
	SeccompStrict         // read, write, exit, sigreturn only
	SeccompFilter
)

// String returns "none", "strict" or "filter".
func (s Seccomp) String() string {
	switch s {
	case SeccompNone:
		return "none"
	case SeccompStrict:
		return "strict"
	case SeccompFilter:
		return "filter"
	}
	return "seccomp " + strconv.Itoa(int(s))
}

// IDs are the real, effective, saved and file system id of a user or group.
type IDs struct{ Real, Effective, Saved, FS uint32 }

// status is what /proc/PID/status tells and stat does not.
type status struct {
	uid, gid   IDs
	tracer     int
	seccomp    Seccomp
	noNewPrivs bool
	innerPID   int
}

// parseStatus reads lines of the form "Key:\tvalues". The name in the first one has its newlines escaped.
func parseStatus(r io.Reader, buf []byte) (*status, error) {
	s, seen := &status{}, 0
	err := eachLine(r, buf, func(line []byte) error {
		found, err := s.line(line)
		if found {
			seen++
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if seen < 3 { // Uid, Gid, TracerPid; the others depend on the kernel's configuration
		return nil, malformed("no Uid, Gid or TracerPid")
	}
	return s, nil
}

// line takes one line in, and says whether it is one of those that must be there.
func (s *status) line(line []byte) (needed bool, err error) {
	key, value, ok := bytes.Cut(line, []byte{':'})
	if !ok {
		return false, nil
	}
	switch string(key) {
	case "Uid":
		s.uid, err = parseIDs(value)
		return true, err
	case "Gid":
		s.gid, err = parseIDs(value)
		return true, err
	case "TracerPid":
		s.tracer, err = lastNumber(value)
		return true, err
	case "NSpid":
		s.innerPID, err = lastNumber(value)
	case "NoNewPrivs":
		var n int
		n, err = lastNumber(value)
		s.noNewPrivs = n != 0
	case "Seccomp":
		var n int
		n, err = lastNumber(value)
		s.seccomp = Seccomp(n)
	}
	return false, err
}

func parseIDs(value []byte) (IDs, error) {
	var n [4]uint32
	fields := bytes.Fields(value)
	if len(fields) != len(n) {
		return IDs{}, malformed("%d ids, want 4", len(fields))
	}
	for i, f := range fields {
		v, err := strconv.ParseUint(string(f), 10, 32)
		if err != nil {
			return IDs{}, malformed("an id is not a number")
		}
		n[i] = uint32(v)
	}
	return IDs{Real: n[0], Effective: n[1], Saved: n[2], FS: n[3]}, nil
}

// lastNumber reads the last field: of NSpid that is the pid in the innermost namespace.
func lastNumber(value []byte) (int, error) {
	value = bytes.TrimSpace(value)
	n, err := strconv.ParseUint(string(value[bytes.LastIndexAny(value, " \t")+1:]), 10, 31)
	if err != nil {
		return 0, malformed("not a number")
	}
	return int(n), nil
}

func (d *dir) status() (*status, error) {
	f, err := d.open("status")
	if err != nil {
		return nil, err
	}
	defer f.close()
	buf := lineBuffers.Get().(*[maxLine]byte)
	defer lineBuffers.Put(buf)
	s, err := parseStatus(f, buf[:])
	return s, lookError(d.pid, "status", err)
}
