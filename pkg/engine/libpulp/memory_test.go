package libpulp

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"maps"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// fake is a process's memory: bytes at addresses, and zeros to the end of their last page.
type fake map[uint64][]byte

var errNowhere = errors.New("not mapped")

func (f fake) read(b []byte, addr uint64) error {
	for at, data := range f {
		end := (at + uint64(len(data)) + pageSize - 1) &^ (pageSize - 1)
		if addr >= at && addr+uint64(len(b)) <= end && addr <= end {
			clear(b)
			copy(b, data[min(addr-at, uint64(len(data))):])
			return nil
		}
	}
	return errNowhere
}

func words(w ...uint64) []byte {
	var b []byte
	for _, v := range w {
		b = le.AppendUint64(b, v)
	}
	return b
}

// node is an entry of the list of patches.
func node(library, container, units, next, depends, time uint64) []byte {
	return append(bytes.Repeat([]byte{7}, 32), words(library, container, units, next, depends,
		time)...)
}

const stateAt, at = 0x10_0000, 0x20_0000

// process is a fake with a list that begins with the nodes.
func processWith(nodes ...[]byte) (fake, *Runtime) {
	f := fake{stateAt: words(1, at), 0x30_0000: []byte("libx.so\x00/lp.so\x00")}
	for i, n := range nodes {
		f[at+uint64(i)*0x1000] = n
	}
	return f, &Runtime{Version: "0.3.17", sym: symbols{state: stateAt, queue: 0x40_0000,
		queueRoom: 4096, messages: 0x50_0000, ring: 16}}
}

func TestList(t *testing.T) {
	endless := bytes.Repeat([]byte("x"), maxString+100)
	unit := func(next uint64) []byte { return words(0x111, 0x222, 0, 0, next) }
	for name, tc := range map[string]struct {
		nodes []([]byte)
		more  fake
		want  error
		count int
	}{
		"one":      {nodes: [][]byte{node(0x30_0000, 0x30_0008, 0, 0, 0, 1)}, count: 1},
		"no names": {nodes: [][]byte{node(0, 0, 0, 0, 0, 1)}, count: 1},
		"two": {nodes: [][]byte{node(0x30_0000, 0x30_0008, 0, at+0x1000, 0, 1),
			node(0, 0, 0, 0, 0, 1)}, count: 2},
		"itself": {nodes: [][]byte{node(0, 0, 0, at, 0, 1)}, want: ErrMalformed},
		"cycle": {nodes: [][]byte{node(0, 0, 0, at+0x1000, 0, 1),
			node(0, 0, 0, at, 0, 1)}, want: ErrMalformed},
		"nowhere":    {nodes: [][]byte{node(0, 0, 0, 0xdead_0000, 0, 1)}, want: errNowhere},
		"at the end": {nodes: [][]byte{node(0, 0, 0, 1<<64-8, 0, 1)}, want: ErrMalformed},
		"endless name": {nodes: [][]byte{node(0x60_0000, 0, 0, 0, 0, 1)},
			more: fake{0x60_0000: endless}, want: ErrMalformed},
		"cyclic functions": {nodes: [][]byte{node(0, 0, 0x60_0000, 0, 0, 1)},
			more: fake{0x60_0000: unit(0x60_0000)}, want: ErrMalformed},
		"cyclic dependencies": {nodes: [][]byte{node(0, 0, 0, 0, 0x60_0000, 1)},
			more: fake{0x60_0000: append(make([]byte, 40), words(0x60_0000)...)},
			want: ErrMalformed},
	} {
		f, r := processWith(tc.nodes...)
		maps.Copy(f, tc.more)
		l, err := r.list(f)
		if !errors.Is(err, tc.want) || len(l.patches) != tc.count {
			t.Errorf("%s: %+v, %v, want %v", name, l.patches, err, tc.want)
		}
		if name == "one" && (l.patches[0].Library != "libx.so" ||
			l.patches[0].Container != "/lp.so" || l.patches[0].Name() != "lp.so" ||
			l.patches[0].Time.Unix() != 1) {
			t.Errorf("%+v", l.patches[0])
		}
	}
}

// restless is memory that changes at each reading.
type restless struct {
	fake
	n *uint64
}

func (r restless) read(b []byte, addr uint64) error {
	*r.n++
	binary.LittleEndian.PutUint64(r.fake[at][72:], *r.n)
	return r.fake.read(b, addr)
}

func TestRestlessList(t *testing.T) {
	f, r := processWith(node(0, 0, 0, 0, 0, 1))
	if _, err := r.list(restless{f, new(uint64)}); !errors.Is(err, ErrChanged) {
		t.Error(err)
	}
}

func TestText(t *testing.T) {
	long := bytes.Repeat([]byte("y"), 300)
	for at, want := range map[uint64]int{0x1000: 300, 0x1ed0: 300, 0x1ed3: 300} {
		// the NUL in the page, the last byte of it
		if s, err := text(fake{at: append(bytes.Clone(long), 0)}, at, 300); len(s) != want ||
			err != nil {
			t.Errorf("%#x: %d, %v", at, len(s), err)
		}
	}
	if _, err := text(fake{0x1000: long}, 0x1000, 299); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
	if _, err := text(fake{0x1ed4: long}, 0x1ed4, 4096); !errors.Is(err, errNowhere) {
		// to the page's end, and no NUL
		t.Error(err)
	}
	if s, err := text(fake{0x1000: nil, 0x1ff0: []byte{'a', 0}}, 0x1ff0, 10); s != "a" ||
		err != nil {
		t.Errorf("%q, %v", s, err)
	}
}

func TestRing(t *testing.T) {
	for _, tc := range []struct {
		bottom, distance uint32
		want             string
		err              error
	}{
		{0, 0, "", nil}, {0, 4, "0123", nil}, {14, 4, "ef01", nil},
		{15, 16, "f0123456789abcde", nil},
		{16, 0, "", ErrMalformed}, {0, 17, "", ErrMalformed},
		{1<<32 - 5, 1 << 30, "", ErrMalformed},
	} {
		f, r := processWith()
		f[0x50_0000] = le.AppendUint32(
			le.AppendUint32(append([]byte("0123456789abcdef"), 0, 0, 0, 0), tc.bottom), tc.distance)
		if b, err := r.ring(f); string(b) != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%+v: %q, %v", tc, b, err)
		}
	}
}

// insn is an instruction of a queue.
func insn(kind byte, size int, rest ...byte) []byte {
	return append(le.AppendUint32(nil, uint32(size)<<8|uint32(kind)), rest...)
}

func writeInsn(addr uint64, data ...byte) []byte {
	size := (writeHead + len(data) + 7) &^ 7
	b := append(le.AppendUint64(le.AppendUint32(insn(insnWrite, size), uint32(len(data))), addr),
		data...)
	return append(b, make([]byte, size-len(b))...)
}

func TestQueue(t *testing.T) {
	two := append(writeInsn(0x1234, 1, 2, 3), writeInsn(0x5678, 4)...)
	for name, tc := range map[string]struct {
		b     []byte
		count int
		want  int
		err   error
	}{
		"empty": {nil, 0, 0, nil}, "two": {two, 2, 2, nil},
		"one too few": {two, 1, 0, ErrMalformed}, "one too many": {two, 3, 0, ErrMalformed},
		"countless":   {two, 1 << 31, 0, ErrMalformed},
		"print":       {append(insn(insnPrint, 8, 'h', 'i', 0, 0), two...), 3, 2, nil},
		"nop":         {append(insn(insnNOP, 0), two...), 3, 2, nil},
		"unknown":     {insn(3, 4), 1, 0, ErrMalformed},
		"no size":     {insn(insnPrint, 0), 1, 0, ErrMalformed},
		"too large":   {insn(insnPrint, 1<<24-1), 1, 0, ErrMalformed},
		"short write": {insn(insnWrite, 8, 1, 2, 3, 4), 1, 0, ErrMalformed},
		"long write": {append(insn(insnWrite, 16), le.AppendUint64(le.AppendUint32(nil, 1), 5)...),
			1, 0, ErrMalformed},
	} {
		list, err := parseQueue(tc.b, tc.count)
		if len(list) != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%s: %v, %v", name, list, err)
		}
	}
	list, err := parseQueue(two, 2)
	if err != nil || !list[0].equal(write{0x1234, []byte{1, 2, 3}}) ||
		!list[1].equal(write{0x5678, []byte{4}}) {
		t.Errorf("%v, %v", list, err)
	}
}

func TestCompare(t *testing.T) {
	code := write{0x1000, detour(0x9999, false)}
	pointer := write{0x2000, words(5)}
	pair := func(module uint64) write { return write{0x3000, words(module, 6)} }
	needed := func() []write { return []write{pair(0), pointer, code} }
	for name, tc := range map[string]struct {
		asked []write
		err   error
	}{
		"all":          {[]write{code, pair(3), pointer}, nil},
		"one too few":  {[]write{code, pointer}, ErrRefused},
		"one too many": {[]write{code, pair(3), pointer, {0x4000, []byte{1}}}, ErrRefused},
		"twice":        {[]write{code, pair(3), pair(3)}, ErrRefused},
		"elsewhere":    {[]write{{0x1001, code.data}, pair(3), pointer}, ErrRefused},
		"other code":   {[]write{{0x1000, detour(0x9998, false)}, pair(3), pointer}, ErrRefused},
		"longer": {[]write{{0x1000, append(detour(0x9999, false), 0x90)}, pair(3), pointer},
			ErrRefused},
		"other pointer": {[]write{code, pair(3), {0x2000, words(6)}}, ErrRefused},
		"wild module":   {[]write{code, pair(1 << 40), pointer}, ErrRefused},
		"other offset":  {[]write{code, {0x3000, words(3, 7)}, pointer}, ErrRefused},
	} {
		n := needed()
		if err := compare(n, tc.asked); !errors.Is(err, tc.err) {
			t.Errorf("%s: %v", name, err)
		}
		if tc.err == nil && le.Uint64(n[0].data) != 3 {
			t.Errorf("%s: module %d", name, le.Uint64(n[0].data))
		}
	}
}

func TestCodes(t *testing.T) {
	for c, want := range map[Code]string{
		ErrAgain: "resource temporarily unavailable", ErrUnknown: "Unknown error",
		ErrBuildID:   "Build ID mismatch",
		ErrNotLoaded: "Libpulp not found in target process", ErrNoMetadata: "No metadata in .so",
		ErrNotApplied: "Patch not applied",
		ErrBlocked:    "Livepatching blocked by user request", ErrNoPatches: "No patches installed",
		ErrDlopen:  "Failure in dlopen",
		ErrOldTool: "ULP tool is too old", ErrApplied: "Patch already applied",
		ErrNotPatchable: "Function is not livepatchable",
		ErrNoTarget:     "Target library not loaded", 289: "Libc not found or unsupported",
		290: "Unknown error 290", -1: "Unknown error -1",
	} {
		if c.Error() != want {
			t.Errorf("%d: %q, want %q", int(c), c, want)
		}
	}
}

// TestPlace has symbols of libpulp.so in places where they cannot be.
func TestPlace(t *testing.T) {
	const text, data, end = 0x1000, 0x2000, 0x20_0000
	lib := &rtld.Library{Segments: []rtld.Segment{
		{Start: text, End: data, Perm: rtld.PermRead | rtld.PermExec},
		{Start: data, End: end, Perm: rtld.PermRead | rtld.PermWrite},
		{Start: end, End: end + 0x1000, Perm: rtld.PermRead | rtld.PermWrite | rtld.PermExec},
	}}
	good := map[string]rtld.Symbol{
		"__ulp_trigger": {Addr: text}, "__ulp_check_patched": {Addr: text + 8},
		"__ulp_revert_all": {Addr: text + 16},
		"__ulp_state":      {Addr: data, Size: 16}, "__ulp_metadata_buffer": {Addr: data + 16,
			Size: bufferMost},
		"__ulp_insn_queue":  {Addr: 0x10_0000, Size: 0x1000},
		"__ulp_error_state": {Addr: data + 8, Size: 4},
	}
	for name, change := range map[string]struct {
		symbol string
		to     rtld.Symbol // the zero value: none
		bad    bool
	}{
		"good":              {},
		"no queue":          {symbol: "__ulp_insn_queue"},
		"no trigger":        {symbol: "__ulp_trigger", bad: true},
		"no buffer":         {symbol: "__ulp_metadata_buffer", bad: true},
		"trigger in data":   {"__ulp_trigger", rtld.Symbol{Addr: data}, true},
		"trigger in both":   {"__ulp_trigger", rtld.Symbol{Addr: end}, true},
		"trigger elsewhere": {"__ulp_trigger", rtld.Symbol{Addr: 0x7000_0000}, true},
		"indirect trigger": {"__ulp_trigger", rtld.Symbol{Addr: text, Type: elf.STT_GNU_IFUNC},
			true},
		"state in text": {"__ulp_state", rtld.Symbol{Addr: text, Size: 16}, true},
		"small state":   {"__ulp_state", rtld.Symbol{Addr: data, Size: 8}, true},
		"thread-local state": {"__ulp_state", rtld.Symbol{Addr: data, Size: 16, Type: elf.STT_TLS},
			true},
		"buffer into code": {"__ulp_metadata_buffer", rtld.Symbol{Addr: end - 4096, Size: 8192},
			true},
		"huge buffer": {"__ulp_metadata_buffer", rtld.Symbol{Addr: data, Size: 1 << 60},
			true},
		"queue of nothing":   {"__ulp_insn_queue", rtld.Symbol{Addr: data, Size: 16}, true},
		"error state in gap": {"__ulp_error_state", rtld.Symbol{Addr: end + 0x1000, Size: 4}, true},
	} {
		found := maps.Clone(good)
		if delete(found, change.symbol); change.to != (rtld.Symbol{}) {
			found[change.symbol] = change.to
		}
		r := &Runtime{Library: lib}
		if err := r.place(found); errors.Is(err, ErrMalformed) != change.bad {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// readerAt is a fake for package tracer.
type readerAt struct{ fake }

func (r readerAt) ReadAt(b []byte, off int64) (int, error) { return len(b), r.read(b, uint64(off)) }

// TestFunction has entry points that call what is not libpulp.so's.
func TestFunction(t *testing.T) {
	r := &Runtime{Library: &rtld.Library{Segments: []rtld.Segment{
		{Start: 0x1000, End: 0x3000, Perm: rtld.PermRead | rtld.PermExec},
		{Start: 0x3000, End: 0x4000, Perm: rtld.PermRead},
	}}}
	for target, good := range map[uint64]bool{0x2000: true, 0x3000: false, 0x5000: false,
		0x10: false} {
		code := append(le.AppendUint32([]byte{0x90, 0x90, 0xe8}, uint32(target-0x1007)), 0xcc)
		fn, err := r.function(readerAt{fake{0x1000: code}}, 0x1000)
		if good && (err != nil || fn != target) || !good && !errors.Is(err, ErrMalformed) {
			t.Errorf("%#x: %#x, %v", target, fn, err)
		}
	}
	if _, err := r.function(readerAt{fake{0x1000: {0x90, 0x90, 0xc3}}},
		0x1000); !errors.Is(err, ErrOldLibpulp) {
		t.Error(err)
	}
}
