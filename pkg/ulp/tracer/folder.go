package tracer

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// folder is /proc/PID, opened once: what is looked at through it belongs to the process it was opened for, also when the
// number is given to another one. Then it is empty.
type folder struct{ fd int }

func openFolder(pid int) (*folder, error) {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &folder{fd}, nil
}

func (d *folder) close() { _ = unix.Close(d.fd) }

func (d *folder) open(name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(d.fd, name, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// tasks lists the threads of the process. They come and go: the list is true for no longer than it takes to read.
// complete says that as many threads as are in it were there behind it; one that ends meanwhile can hide another one.
func (d *folder) tasks() (tids []int, complete bool, err error) {
	f, err := d.open("task", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, false, err
	}
	for _, n := range names {
		if tid, err := strconv.Atoi(n); err == nil {
			tids = append(tids, tid)
		}
	}
	var st unix.Stat_t
	err = unix.Fstat(int(f.Fd()), &st)
	return tids, int(st.Nlink) == len(tids)+2, err
}

// count is how many threads the process has, those that have ended and were not yet waited for included.
func (d *folder) count() (int, error) {
	var st unix.Stat_t
	err := unix.Fstatat(d.fd, "task", &st, 0)
	return int(st.Nlink) - 2, err
}

func taskFile(tid int, file string) string { return "task/" + strconv.Itoa(tid) + "/" + file }

// has says whether a thread is one of the process's.
func (d *folder) has(tid int) bool {
	return unix.Faccessat(d.fd, taskFile(tid, ""), unix.F_OK, 0) == nil
}

// read reads one of the small files in a thread's folder.
func (d *folder) read(tid int, file string) ([]byte, error) {
	return d.readInto(make([]byte, taskFileMost), tid, file)
}

// readInto is read into b, as far as there is room.
func (d *folder) readInto(b []byte, tid int, file string) ([]byte, error) {
	fd, err := unix.Openat(d.fd, taskFile(tid, file), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	n, err := unix.Read(fd, b)
	return b[:max(n, 0)], err
}

// What the files have at most.
const (
	taskFileMost = 8 << 10
	statMost     = 2 << 10 // 52 numbers and a name
)

// status reads fields of a thread's status by name; those that are missing stay empty.
func (d *folder) status(tid int, fields map[string]string) error {
	b, err := d.read(tid, "status")
	if err != nil {
		return err
	}
	for line := range bytes.Lines(b) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if _, wanted := fields[string(name)]; wanted {
			fields[string(name)] = string(bytes.TrimSpace(value))
		}
	}
	return nil
}

// stat returns the fields of a thread's stat from the state (the third) on; nil if there is none.
func (d *folder) stat(tid int) [][]byte {
	b, err := d.readInto(make([]byte, statMost), tid, "stat")
	if err != nil {
		return nil
	}
	return bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // the name may hold anything
}

// ended says whether a thread has exited: it is a zombie, or there is none any more. One that a signal is ending counts as such,
// since it never stops any more, even if it dumps core for a long time before.
func (d *folder) ended(tid int) bool {
	s := d.stat(tid)
	return len(s) == 0 || s[0][0] == 'Z' || s[0][0] == 'X' || statFlags(s)&signaled != 0
}

// signaled is the flag of a thread that a signal is ending (PF_SIGNALED).
const signaled = 0x400

// statFlags returns the flags in stat; 0 if there are none.
func statFlags(s [][]byte) uint64 { return statNumber(s, 9) }

// statNumber returns a field of stat by its number in proc(5); 0 if there is no such number.
func statNumber(s [][]byte, field int) uint64 {
	if field -= 3; len(s) <= field {
		return 0
	}
	n, err := strconv.ParseUint(string(s[field]), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
