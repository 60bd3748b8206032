package engine

import (
	"bufio"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// Probe is a breakpoint where a function begins that can be replaced, or is: a uprobe of the
// kernel's, or a debugger's. Such a function cannot be changed until the probe is removed, and a
// live patch that is put there first does not survive one.
type Probe struct {
	Library  string
	BuildID  []byte // of the library
	Function string
	Addr     uint64 // in the process
	// Event is the name of the uprobe in tracefs. It is "" for a breakpoint that is not listed
	// there, as those of debuggers and of perf_event_open are, and where tracefs is not mounted.
	Event string
	// Set reports whether the breakpoint is in the process's memory. An event that is not enabled
	// is only defined.
	Set bool
}

// Where tracefs may be mounted.
var tracefs = []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}

// Bounds of looking for probes.
const (
	maxEvents     = 4096
	maxEventBytes = 4 << 20
	maxProbes     = 64   // told of one library
	maxPages      = 1024 // with changes in one library's code
	pageBytes     = 4096
	breakpoint    = 0xcc // int3
)

// endbr64 is the landing pad at whose end compilers put the NOPs.
const endbr64 = "\xf3\x0f\x1e\xfa"

// event is a uprobe as tracefs lists it.
type event struct {
	name   string
	file   rtld.FileID
	offset uint64
}

// readEvents returns the uprobes that tracefs lists. Where it is not mounted there are none that
// could be known.
func readEvents(dirs []string) ([]event, error) {
	for _, dir := range dirs {
		f, err := os.Open(filepath.Join(dir, "uprobe_events"))
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue
		case err != nil:
			return nil, err
		}
		defer f.Close()
		return parseEvents(f)
	}
	return nil, nil
}

// parseEvents reads lines as "p:GROUP/EVENT PATH:0xOFFSET ARGS". Each path is that of a file on
// this machine.
func parseEvents(r io.Reader) ([]event, error) {
	var list []event
	s := bufio.NewScanner(io.LimitReader(r, maxEventBytes+1))
	read := 0
	for s.Scan() {
		if read += len(s.Bytes()) + 1; read > maxEventBytes {
			return list, fmt.Errorf("the list of uprobes: %w", process.ErrLimit)
		}
		kind, rest, _ := strings.Cut(s.Text(), ":")
		name, rest, ok := strings.Cut(rest, " ")
		i := strings.LastIndex(rest, ":0x")
		if !ok || i < 0 || kind != "p" {
			// a return probe is a breakpoint, too, with the same beginning
			if !strings.HasPrefix(kind, "r") || i < 0 {
				continue
			}
		}
		digits := rest[i+3:]
		if end := strings.IndexFunc(digits, func(c rune) bool {
			return !strings.ContainsRune("0123456789abcdefABCDEF", c)
		}); end >= 0 {
			digits = digits[:end]
		}
		offset, err := strconv.ParseUint(digits, 16, 64)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(rest[:i], &st) != nil {
			continue // a file of another mount namespace, or one that is gone
		}
		if len(list) == maxEvents {
			return list, fmt.Errorf("more than %d uprobes are defined: %w", maxEvents,
				process.ErrLimit)
		}
		list = append(list, event{name, rtld.FileID{Dev: st.Dev, Inode: st.Ino}, offset})
	}
	return list, s.Err()
}

// probes finds the probes in a library.
func probes(ctx context.Context, v *View, l *rtld.Library, events []event) ([]Probe, error) {
	if l.Machine != elf.EM_X86_64 || l.Class != elf.ELFCLASS64 || l.Problem != nil {
		return nil, nil
	}
	named := map[uint64]string{}
	for _, e := range events {
		for _, s := range l.Segments {
			if e.file == l.File && s.Perm&rtld.PermExec != 0 && e.offset-s.Offset < s.End-s.Start {
				named[s.Start+e.offset-s.Offset] = e.name
			}
		}
	}
	set := map[uint64]bool{}
	changed := 0
	for _, s := range l.Segments {
		if s.Perm&rtld.PermExec == 0 || !s.File {
			continue
		}
		pages, err := v.Memory.Altered(ctx, s)
		if err != nil {
			return nil, err
		}
		if changed += len(pages); changed > maxPages {
			return nil, fmt.Errorf("%s: %d pages of its code are changed: %w", l.Name, changed,
				process.ErrLimit)
		}
		page := make([]byte, pageBytes)
		for _, at := range pages {
			if _, err := v.Memory.ReadAt(ctx, page, at); err != nil {
				return nil, err
			}
			for i, b := range page {
				if b == breakpoint {
					set[at+uint64(i)] = true
				}
			}
		}
	}
	if len(named)+len(set) == 0 {
		return nil, nil
	}
	symbols, err := v.Memory.Symbols(ctx, l)
	if err != nil {
		return nil, err
	}
	var list []Probe
	for s, err := range symbols.All(ctx) {
		if err != nil {
			return list, err
		}
		if s.Type != elf.STT_FUNC && s.Type != elf.STT_GNU_IFUNC {
			continue
		}
		at := s.Addr
		if named[at] == "" && !set[at] {
			var pad [len(endbr64)]byte
			if after := at + uint64(len(pad)); named[after] == "" && !set[after] {
				continue
			} else if _, err := v.Memory.ReadAt(ctx, pad[:], at); err != nil ||
				string(pad[:]) != endbr64 {
				continue
			} else {
				at = after
			}
		}
		if !slices.ContainsFunc(list, func(p Probe) bool { return p.Addr == at }) {
			if len(list) == maxProbes {
				return list, fmt.Errorf("%s has more than %d probes: %w", l.Name, maxProbes,
					process.ErrLimit)
			}
			list = append(list, Probe{Library: l.Name, BuildID: l.BuildID, Function: s.Name,
				Addr: at, Event: named[at], Set: set[at]})
		}
	}
	return list, nil
}
