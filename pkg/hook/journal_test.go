package hook

import (
	"bytes"
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// outcome returns one with a report that should be kept entirely.
func outcome(log ...string) *Outcome { return &Outcome{Log: log} }

func logRequest(root string) Request {
	return Request{Action: Install, Package: "p", Version: "1", Library: "l.so", Root: root}
}

func readLog(t *testing.T, root, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, logDir, name))
	check(t, err)
	return string(data)
}

// TestLogFile appends to the file, which only root can read, and rotates it.
func TestLogFile(t *testing.T) {
	root := tree(t, map[string]string{"var/log/": ""})
	r := logRequest(root)
	check(t, outcome("one (1): done").WriteLog(r))
	check(t, outcome("two (2): done").WriteLog(r))
	text := readLog(t, root, logFile)
	for _, want := range []string{" install p 1 l.so: one (1): done\n", ": two (2): done\n",
		": Processes patched: 0, Skipped: 0, Failed: 0.\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log has %q, without %q", text, want)
		}
	}
	if info, err := os.Stat(filepath.Join(root, logDir, logFile)); err != nil ||
		info.Mode().Perm()&0o007 != 0 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for range keptLogs + 3 {
		check(t, outcome(strings.Repeat("x", maxLog)).WriteLog(r))
	}
	if got, want := content(t, filepath.Join(root, logDir)),
		"hook.log.1 hook.log.2 hook.log.3 hook.log.4"; got != want {
		t.Errorf("the files are %q, want %q", got, want)
	}
	quiet := &Outcome{Nothing: "no /proc", Quiet: true}
	check(t, quiet.WriteLog(r))
	if got := content(t, filepath.Join(root, logDir)); strings.Contains(got, "hook.log ") {
		t.Error("an empty report was written")
	}
}

// TestLogElsewhere does not write to the target of a link, or where others could have put
// something.
func TestLogElsewhere(t *testing.T) {
	for name, make := range map[string]func(root string) error{
		"the directory is a link": func(root string) error {
			return os.Symlink(filepath.Join(root, "target"), filepath.Join(root, logDir))
		},
		"the directory is world-writable": func(root string) error {
			return put2(root, 0o777)
		},
		"the file is a link":         func(root string) error { return linked(root, os.Symlink) },
		"the file has a second name": func(root string) error { return linked(root, os.Link) },
		"the file is a FIFO": func(root string) error {
			return linked(root, func(_, name string) error { return unix.Mkfifo(name, 0o644) })
		},
		"the directory is a file": func(root string) error {
			return os.WriteFile(filepath.Join(root, logDir), nil, 0o644)
		},
	} {
		root := tree(t, map[string]string{"var/log/": "", "target/hook.log": "theirs",
			"target/file": "theirs"})
		check(t, make(root))
		if err := outcome("x").WriteLog(logRequest(root)); err == nil {
			t.Errorf("%s: no error", name)
		}
		for _, file := range []string{"hook.log", "file"} {
			if data, err := os.ReadFile(filepath.Join(root, "target", file)); err != nil ||
				string(data) != "theirs" {
				t.Errorf("%s: %q, %v", name, data, err)
			}
		}
	}
}

func put2(root string, mode os.FileMode) error {
	dir := filepath.Join(root, logDir)
	if err := os.Mkdir(dir, mode); err != nil {
		return err
	}
	return os.Chmod(dir, mode)
}

func linked(root string, link func(target, name string) error) error {
	if err := put2(root, 0o755); err != nil {
		return err
	}
	return link(filepath.Join(root, "target/file"), filepath.Join(root, logDir, logFile))
}

// TestJournal sends each line as a separate message: no part of it can become another field.
func TestJournal(t *testing.T) {
	root, err := os.MkdirTemp("", "j") // a socket's name must be short
	check(t, err)
	defer os.RemoveAll(root)
	put(t, root, map[string]string{"run/systemd/journal/": "", "var/log/": ""})
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(root, journalSocket),
		Net: "unixgram"})
	check(t, err)
	defer l.Close()
	check(t, outcome("evil\nPRIORITY=0\n (1): done").WriteLog(logRequest(root)))
	var messages []string
	for range 2 {
		data := make([]byte, 4096)
		n, err := l.Read(data)
		check(t, err)
		fields := fieldsOf(t, data[:n])
		if fields["SYSLOG_IDENTIFIER"] != "lpbuild-hook" || fields["PRIORITY"] != "6" ||
			fields["LPBUILD_ACTION"] != "install p 1 l.so" || len(fields) != 4 {
			t.Errorf("the journal got %q", fields)
		}
		messages = append(messages, fields["MESSAGE"])
	}
	if messages[0] != "evil\nPRIORITY=0\n (1): done" ||
		messages[1] != "Processes patched: 0, Skipped: 0, Failed: 0." {
		t.Errorf("messages %q", messages)
	}
	if got := content(t, filepath.Join(root, "var")); got != "" {
		t.Errorf("there is also %q", got)
	}
}

// fieldsOf parses the journal's native format.
func fieldsOf(t *testing.T, data []byte) map[string]string {
	t.Helper()
	fields := map[string]string{}
	for len(data) > 0 {
		name, rest, ok := bytes.Cut(data, []byte("\n"))
		if !ok || len(rest) < 8 {
			t.Fatalf("%q is not a field", data)
		}
		n := binary.LittleEndian.Uint64(rest)
		fields[string(name)], data = string(rest[8:8+n]), rest[8+n+1:]
	}
	return fields
}
