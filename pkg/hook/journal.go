package hook

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"time"
)

// The whole report goes into the journal if there is one, or else into a file.
const (
	journalSocket = "run/systemd/journal/socket"
	logDir        = "var/log/lpbuild"
	logFile       = "hook.log"
	maxLog        = 1 << 20 // bytes after which the file is rotated
	keptLogs      = 4       // number of older files
	maxLogLines   = 10000   // bytes of one run
)

// WriteLog keeps the whole report of a run, with each process, in the journal or, where there is
// none, in /var/log/lpbuild/hook.log, which is rotated. The error says why the report could not be
// kept; scriptlets may ignore it.
func (o *Outcome) WriteLog(r Request) error {
	r, err := r.normal()
	if err != nil {
		return err
	}
	return r.keepLog(fmt.Sprintf("%s %s %s %s", r.Action, r.Package, r.Version, r.Library), o)
}

// keepLog writes the log of an outcome.
func (r *Request) keepLog(title string, o *Outcome) error {
	lines := o.Log
	if len(lines) > maxLogLines {
		lines = append(lines[:maxLogLines:maxLogLines],
			fmt.Sprintf("and %d more lines", len(lines)-maxLogLines))
	}
	lines = append(slices.Clip(lines), o.Lines()[:min(1, len(o.Lines()))]...)
	if len(lines) == 0 || o.Nothing != "" && o.Quiet && len(o.Notes) == 0 {
		return nil
	}
	if err := r.toJournal(title, lines); err == nil {
		return nil
	}
	return r.toFile(title, lines)
}

// toJournal sends a datagram for each line, in the journal's native format.
func (r *Request) toJournal(title string, lines []string) error {
	name := r.path(journalSocket)
	if info, err := os.Lstat(name); err != nil || info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("no journal: %w", os.ErrNotExist)
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return err
	}
	// lines that were sent are not sent again
	defer func() { _ = conn.Close() }()
	// a journal that does not read delays nothing
	_ = conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
	for _, line := range lines {
		var b bytes.Buffer
		field(&b, "SYSLOG_IDENTIFIER", "lpbuild-hook")
		field(&b, "PRIORITY", "6")
		field(&b, "LPBUILD_ACTION", title)
		field(&b, "MESSAGE", line)
		if _, err := conn.Write(b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// field adds a field with its length, so that no part of the value can become another field.
func field(b *bytes.Buffer, name, value string) {
	b.WriteString(name + "\n")
	_ = binary.Write(b, binary.LittleEndian, uint64(len(value))) // a buffer never fails
	b.WriteString(value + "\n")
}

// toFile appends to the log file. It does not touch a directory or a file that is a link, or that
// others can write to.
func (r *Request) toFile(title string, lines []string) error {
	if err := os.Mkdir(r.path(logDir), 0o750); err != nil && !os.IsExist(err) {
		return err
	}
	root, err := openOwn(r.path(logDir))
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := root.OpenFile(logFile,
		os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o640)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); !ok || !info.Mode().IsRegular() || s.Nlink != 1 {
		return fmt.Errorf("%s: not a file of its own", r.path(logDir, logFile))
	}
	var b bytes.Buffer
	now := time.Now().UTC().Format(time.RFC3339)
	for _, line := range lines {
		fmt.Fprintf(&b, "%s %s: %s\n", now, title, line)
	}
	if _, err := f.Write(b.Bytes()); err != nil {
		return err
	}
	if info.Size()+int64(b.Len()) > maxLog {
		return rotate(root)
	}
	return nil
}

// openOwn opens a directory that is not a link and that only root can write to. Its parent may
// belong to others, as /var/log does to a group on some systems, so the opened directory is what is
// checked.
func openOwn(name string) (*os.Root, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	opened, err := root.Stat(".")
	if err == nil {
		err = ownInfo(name, opened, true)
	}
	if named, lerr := os.Lstat(name); err == nil && (lerr != nil || !os.SameFile(opened, named)) {
		err = fmt.Errorf("%s: a symbolic link is not followed", name)
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return root, nil
}

// rotate gives the log file the name of the most recent old one.
func rotate(root *os.Root) error {
	old := func(n int) string { return fmt.Sprintf("%s.%d", logFile, n) }
	for n := keptLogs - 1; n >= 1; n-- {
		if err := root.Rename(old(n), old(n+1)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return root.Rename(logFile, old(1))
}
