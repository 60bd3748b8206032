package tracer

import (
	"bytes"
	"os"
	"strconv"
)

// tasks lists the threads of a process. They come and go: the list is true for no longer than it takes to read.
func tasks(pid int) ([]int, error) {
	d, err := os.Open("/proc/" + strconv.Itoa(pid) + "/task")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	tids := make([]int, 0, len(names))
	for _, n := range names {
		if tid, err := strconv.Atoi(n); err == nil {
			tids = append(tids, tid)
		}
	}
	return tids, err
}

func taskPath(pid, tid int, file string) string {
	return "/proc/" + strconv.Itoa(pid) + "/task/" + strconv.Itoa(tid) + "/" + file
}

// taskStatus reads fields of /proc/PID/task/TID/status by name; those that are missing stay empty.
func taskStatus(pid, tid int, fields map[string]string) error {
	b, err := os.ReadFile(taskPath(pid, tid, "status"))
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
