package procfs

import (
	"bytes"
	"io"
	"math/bits"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// IDs are the real, effective, saved and file system id of a user or group.
type IDs [4]uint32

// Status is what /proc/PID/status shows and stat does not. The state is in both: to read the status
// does not wait for a process that is within exec.
type Status struct {
	State    byte // of the thread
	Group    int  // the process that it is a thread of
	Parent   int
	Tracer   int // 0: none
	UID, GID IDs
	InnerPID int // in its own pid namespace; 0 if the kernel does not tell
	// how many pid namespaces show the task, from that of proc inwards; 0 if the kernel does not
	// tell
	Depth  int
	Memory bool
	// size of all its mappings that grow downwards, in bytes; 0 if there is no memory
	Stack      uint64
	Caught     uint64 // signals with a handler
	Permitted  uint64 // capabilities
	NoNewPrivs bool
	Seccomp    int // 0 none, 1 strict, 2 filter
	// ShadowStack reports whether the thread has a shadow stack (x86, since Linux 6.6).
	ShadowStack bool
}

// statusFields are the fields that are read. Each must be there, unless this process lacks it, too,
// or it is optional.
var statusFields = [...]struct {
	name     string
	optional bool
	read     func(s *Status, value []byte) error
}{
	{"State", false, (*Status).readState},
	{"Tgid", false, func(s *Status, v []byte) error { return readInt(&s.Group, v) }},
	{"PPid", false, func(s *Status, v []byte) error { return readInt(&s.Parent, v) }},
	{"TracerPid", false, func(s *Status, v []byte) error { return readInt(&s.Tracer, v) }},
	{"Uid", false, func(s *Status, v []byte) error { return s.UID.read(v) }},
	{"Gid", false, func(s *Status, v []byte) error { return s.GID.read(v) }},
	{"NSpid", false, (*Status).readPIDs},
	// kernel threads and zombies have none
	{"VmSize", true, func(s *Status, _ []byte) error { s.Memory = true; return nil }},
	{"VmStk", true, (*Status).readStack},
	{"SigCgt", false, (*Status).readCaught},
	{"CapPrm", true, (*Status).readPermitted}, // nothing but an order depends on it
	{"NoNewPrivs", false, (*Status).readNoNewPrivs},
	{"Seccomp", false, func(s *Status, v []byte) error { return readInt(&s.Seccomp, v) }},
	{"x86_Thread_features", false, (*Status).readFeatures},
}

func (s *Status) readState(v []byte) error {
	if len(v) == 0 {
		return malformed("no state")
	}
	s.State = v[0]
	return nil
}

// fieldSet has one bit for each of statusFields.
type fieldSet uint

// parseStatus reads lines of the form "Key:\tvalues", and returns which of the fields there were.
// The name in the first line has its newlines escaped, so no line is the process's own.
func parseStatus(r io.Reader) (s Status, seen fieldSet, err error) {
	err = EachLine(r, func(line []byte) error {
		key, value, ok := bytes.Cut(line, []byte{':'})
		if !ok {
			return malformed("a line without a colon")
		}
		for i := range statusFields {
			if string(key) != statusFields[i].name {
				continue
			}
			if seen&(1<<i) != 0 {
				return malformed("%s is there twice", key)
			}
			seen |= 1 << i
			return statusFields[i].read(&s, bytes.TrimSpace(value))
		}
		return nil
	})
	return s, seen, err
}

// required returns ErrMalformed if a field is missing that must be there: one that this process
// has.
func (f fieldSet) required(root string) error {
	missing := f.missing()
	if missing == 0 {
		return nil
	}
	own, err := ownFields(root)
	if err != nil {
		return err
	}
	if missing &= own; missing != 0 {
		return malformed("no %s", statusFields[bits.TrailingZeros(uint(missing))].name)
	}
	return nil
}

func (f fieldSet) missing() fieldSet {
	var missing fieldSet
	for i := range statusFields {
		if !statusFields[i].optional {
			missing |= 1 << i &^ f
		}
	}
	return missing
}

var own struct {
	sync.Mutex
	fields map[string]fieldSet // by root
}

// ownFields returns the fields that the kernel shows of this process.
func ownFields(root string) (fieldSet, error) {
	own.Lock()
	defer own.Unlock()
	if f, ok := own.fields[root]; ok {
		return f, nil
	}
	// "self" is a link: what it leads to is proc's own.
	fd, err := unix.Open(filepath.Join(root, "self", "status"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, malformed("fields are missing, and /proc/self cannot be read: %v", err)
	}
	defer File(fd).Close()
	_, seen, err := parseStatus(File(fd))
	if err != nil {
		return 0, err
	}
	if own.fields == nil {
		own.fields = map[string]fieldSet{}
	}
	own.fields[root] = seen
	return seen, nil
}

// Status reads the status of a thread, or of the process's first one if tid is 0.
func (d *Dir) Status(tid int) (*Status, error) {
	name := TaskFile(tid, "status")
	f, err := d.Open(name, ReadOnly)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return d.readStatus(f, name)
}

// StatusOf reads the status of a thread again from r, the same file opened before.
func (d *Dir) StatusOf(r io.Reader, tid int) (*Status, error) {
	return d.readStatus(r, TaskFile(tid, "status"))
}

func (d *Dir) readStatus(r io.Reader, name string) (*Status, error) {
	s, seen, err := parseStatus(r)
	if err == nil {
		err = seen.required(d.root)
	}
	if err != nil {
		return nil, d.fail(name, err)
	}
	return &s, nil
}

func readInt(n *int, value []byte) error {
	v, err := strconv.ParseUint(string(value), 10, 31)
	if err != nil {
		return malformed("not a number")
	}
	*n = int(v)
	return nil
}

func (ids *IDs) read(value []byte) error {
	fields := bytes.Fields(value)
	if len(fields) != len(ids) {
		return malformed("%d ids, want %d", len(fields), len(ids))
	}
	for i, f := range fields {
		v, err := strconv.ParseUint(string(f), 10, 32)
		if err != nil {
			return malformed("an id is not a number")
		}
		ids[i] = uint32(v)
	}
	return nil
}

func (s *Status) readPIDs(value []byte) error {
	fields := bytes.Fields(value)
	if s.Depth = len(fields); s.Depth == 0 {
		return malformed("no number in NSpid")
	}
	return readInt(&s.InnerPID, fields[s.Depth-1])
}

func (s *Status) readCaught(value []byte) (err error) {
	if s.Caught, err = strconv.ParseUint(string(value), 16, 64); err != nil {
		return malformed("not a set of signals")
	}
	return nil
}

// readStack reads "KIB kB".
func (s *Status) readStack(value []byte) error {
	kib, unit, _ := bytes.Cut(value, []byte{' '})
	n, err := strconv.ParseUint(string(kib), 10, 54)
	if err != nil || string(unit) != "kB" {
		return malformed("not a size")
	}
	s.Stack = n << 10
	return nil
}

func (s *Status) readPermitted(value []byte) (err error) {
	if s.Permitted, err = strconv.ParseUint(string(value), 16, 64); err != nil {
		return malformed("not a set of capabilities")
	}
	return nil
}

// readFeatures reads words such as "shstk wrss"; there may be none.
func (s *Status) readFeatures(value []byte) error {
	for word := range bytes.FieldsSeq(value) {
		s.ShadowStack = s.ShadowStack || string(word) == "shstk"
	}
	return nil
}

func (s *Status) readNoNewPrivs(value []byte) error {
	var n int
	err := readInt(&n, value)
	s.NoNewPrivs = n != 0
	return err
}
