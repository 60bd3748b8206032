package native

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// memoryPrefix is what the names of our memory files look like in /proc/PID/maps.
const memoryPrefix = "/memfd:lpbuild:"

// state is what earlier runs left in a process.
type state struct {
	tables     []*table
	records    []*patchRecord
	unfinished []extent // by address: what a killed engine mapped, and never finished
}

// readState finds tables and records: by what is in anonymous memory and in code of files that is
// not a library's, and by the names of memory files. They are the process's words: what does not
// have the right form is left out, and what does is still checked before anything is done with it.
func (v *view) readState(ctx context.Context) (*state, error) {
	st := &state{}
	var next uint64
	most := maxStarts
	var before rtld.Mapping
	for i, m := range v.maps {
		maybe := mayBegin(before, m) || strings.HasPrefix(m.Path, memoryPrefix)
		if before = m; !maybe {
			continue
		}
		list := []uint64{m.Start}
		if !isFile(m) { // otherwise nothing of the program's is joined with it
			list = starts(m, most)
			most -= len(list) - 1
		}
		for _, at := range list {
			if at < next {
				continue // belongs to what was found before
			}
			var err error
			if next, err = v.scan(ctx, st, i, at); err != nil {
				return nil, err
			}
		}
	}
	for _, m := range v.maps { // without contents: the engine was killed before it wrote them
		if strings.HasPrefix(m.Path, memoryPrefix) && !st.knows(m) {
			st.unfinished = append(st.unfinished, extent{m.Start, m.End - m.Start})
		}
	}
	return st, nil
}

// tableReads is how often to read a table's page that another engine may be writing at this moment.
const tableReads = 3

func (v *view) readTable(ctx context.Context, st *state, base uint64) error {
	page := make([]byte, pageSize)
	var t *table
	for i := range tableReads {
		if _, err := v.m.ReadAt(ctx, page, base); err != nil {
			return err
		}
		var err error
		if t, err = parsePage(page, base); err == nil {
			break
		}
		if i == tableReads-1 {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	b := make([]byte, len(t.slots)*siteSize)
	if _, err := v.m.ReadAt(ctx, b, base+sitesAt); err != nil {
		return err
	}
	for i := range t.slots {
		s, err := parseSite(b[i*siteSize:])
		if err != nil {
			return err
		}
		t.sites = append(t.sites, s)
	}
	st.tables = append(st.tables, t)
	return nil
}

func (v *view) readRecord(ctx context.Context, st *state, head []byte, base uint64) error {
	n, err := recordLength(head)
	if err != nil {
		return err
	}
	b := make([]byte, n)
	if _, err := v.m.ReadAt(ctx, b, base); err != nil {
		return err
	}
	r, err := parseRecord(b, base)
	if err != nil {
		return err
	}
	if !v.ours(r.Base, r.Size) {
		return fmt.Errorf("live patch at %#x: %w", base, ErrDamaged)
	}
	st.records = append(st.records, r)
	return nil
}

// mayBegin reports whether a mapping may be the beginning of what is left of a region, by the
// mapping before it.
func mayBegin(before, m rtld.Mapping) bool {
	return isCode(m) || isFile(m) && !continues(before, m)
}

// ours reports whether a range is mapped, and all of it as memory of ours is: nothing else is ever
// unmapped.
func (v *view) ours(base, size uint64) bool {
	var file rtld.FileID // whose pieces it consists of
	begun := false
	for _, m := range v.maps {
		if m.End <= base || size == 0 {
			continue
		}
		memory := isCode(m) || strings.HasPrefix(m.Path, memoryPrefix)
		if !begun && !memory && isFile(m) {
			file = m.File
		}
		begun = true
		piece := isFile(m) && file != rtld.FileID{} && m.File == file
		if m.Start > base || !piece && !isData(m) && (!memory || file != rtld.FileID{}) {
			return false
		}
		n := min(m.End-base, size)
		base, size = base+n, size-n
	}
	return size == 0
}

// complete reports whether all of a table is mapped as it has to be. An engine of an earlier
// version that was killed while it mapped one leaves stubs that cannot be executed.
func (v *view) complete(t *table) bool {
	for _, m := range v.maps {
		if m.End <= t.base || m.Start >= t.base+tableSize ||
			m.Perm == rtld.PermRead|rtld.PermExec && (m.Start <= t.base || m.Offset == pieceAt) {
			continue
		}
		stubs := m.Start >= t.base+stubsAt
		if m.Perm&rtld.PermExec != 0 != stubs || !stubs && m.End > t.base+stubsAt {
			return false
		}
	}
	return v.ours(t.base, tableSize)
}

// knows reports whether a mapping has something of a record or a table.
func (st *state) knows(m rtld.Mapping) bool {
	return slices.ContainsFunc(st.records, func(r *patchRecord) bool {
		return m.Start < r.Base+r.Size && r.Base < m.End
	}) ||
		slices.ContainsFunc(st.tables, func(t *table) bool {
			return m.Start < t.base+tableSize && t.base < m.End
		})
}

// recordAt returns the record of a mapping, nil if there is none.
func (st *state) recordAt(base uint64) *patchRecord {
	for _, r := range st.records {
		if r.Base == base {
			return r
		}
	}
	return nil
}

// ID identifies a live patch: see [ulp.Metadata].
type ID [32]byte

// String returns the ID in hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// AppliedPatch is a live patch that lpbuild loaded into a process.
type AppliedPatch struct {
	ID        ID
	Container string
	Target    ulp.Target
	Comments  string
	Time      time.Time
	Functions []ulp.Function // OldValue is 0 if the library's table is gone
	// Active: calls go to it, or will when those on top of it are reverted. Otherwise it is only
	// still in memory, because a thread was in it when it was reverted, because the engine was
	// killed, or because the library was unloaded; the next change frees it.
	Active bool
	// Serial is the order of application among those of one target: the highest is on top.
	Serial     uint64
	Base, Size uint64 // where it is
	Bias       uint64 // of the library; 0 if that is not known
}

// Present reports whether anything of lpbuild is in a process. It looks at one file, and at the
// beginning of what may be ours, where List takes several.
func Present(ctx context.Context, m *process.Memory) (bool, error) {
	found := false
	var maps []rtld.Mapping // that may be parts of a region
	var before rtld.Mapping
	end := uint64(0)
	err := m.Mappings(ctx, func(l rtld.Mapping) bool {
		found = strings.HasPrefix(l.Path, memoryPrefix)
		if mayBegin(before, l) || (isData(l) || isFile(l)) && l.Start == end {
			maps, end = append(maps, l), l.End
		}
		before = l
		return !found && len(maps) < maxMappings
	})
	if err != nil || found || len(maps) == 0 {
		return found, err
	}
	if len(maps) == maxMappings {
		return true, nil // a closer look meets the limit
	}
	v := &view{m: m, maps: maps}
	st, err := v.readState(ctx)
	if errors.Is(err, ErrDamaged) || errors.Is(err, ErrLimit) {
		return true, nil
	}
	return st != nil && len(st.tables)+len(st.records)+len(st.unfinished) > 0, err
}

// List returns the live patches of lpbuild that are in a process, in the order in which they were
// applied. The process is not stopped. The error is that of looking into the process, or
// ErrDamaged.
func List(ctx context.Context, p *process.Process) ([]AppliedPatch, error) {
	list, err := see(ctx, p, func(_ context.Context, v *View) ([]AppliedPatch, error) {
		return v.List(), nil
	})
	return list, pidError(p.PID, "live patches", err)
}

// List returns the live patches of lpbuild that are in the process, in the order in which they were
// applied.
func (v *View) List() []AppliedPatch { return v.st.applied() }

func (st *state) applied() []AppliedPatch {
	var list []AppliedPatch
	for _, r := range st.records {
		a := AppliedPatch{ID: r.PatchID, Container: r.Container, Target: r.Target,
			Comments: r.Comments, Time: r.Time, Base: r.Base, Size: r.Size}
		for _, f := range r.Functions {
			a.Functions = append(a.Functions, ulp.Function{Old: f.Old, New: f.New})
		}
		for _, t := range st.tables {
			if t.base == r.Table {
				a.Bias = t.bias
				for i := range r.Functions {
					a.Functions[i].OldValue = r.Functions[i].Entry - t.bias
				}
			}
			for _, l := range t.patches {
				if l.base == r.Base && t.base == r.Table && !t.unloaded {
					a.Active, a.Serial = true, l.serial
				}
			}
		}
		list = append(list, a)
	}
	slices.SortStableFunc(list, func(a, b AppliedPatch) int {
		return cmp.Compare(a.Serial, b.Serial)
	})
	return list
}
