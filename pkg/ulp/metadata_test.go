package ulp_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

func fullMetadata() *ulp.Metadata {
	return &ulp.Metadata{
		PatchID: [32]byte{0xf6, 31: 0xd5},
		Target:  ulp.Target{BuildID: bytes.Repeat([]byte{0xb1}, 20), Name: "libc.so.6"},
		Functions: []ulp.Function{
			{Old: "__libc_malloc", New: "malloc_lp", OldValue: 0x9f140},
			{Old: "f", New: "g", OldValue: math.MaxUint64},
		},
		Dependencies: [][32]byte{{1}, {2}},
		References: []ulp.DataRef{
			{Target: "errno", Reference: "ulpr_errno", TargetOffset: 0x10, PatchOffset: 0x4070,
				TLS: true},
			{Target: "v", Reference: "p", TargetOffset: 1, PatchOffset: 2},
		},
	}
}

func encode(t *testing.T, m *ulp.Metadata) []byte {
	t.Helper()
	b, err := m.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The bytes of the format, field by field.
func TestMetadataLayout(t *testing.T) {
	m := &ulp.Metadata{
		PatchID:   [32]byte{0xaa, 31: 0xbb},
		Target:    ulp.Target{BuildID: bytes.Repeat([]byte{0xcc}, 20), Name: "libt.so"},
		Functions: []ulp.Function{{Old: "value", New: "value_lp", OldValue: 0x114e}},
		References: []ulp.DataRef{{Target: "tl", Reference: "ulpr_tl", TargetOffset: 8,
			PatchOffset: 0x4030, TLS: true}},
	}
	id := "aa" + strings.Repeat("00", 30) + "bb"
	build := "14000000" + strings.Repeat("cc", 20)
	rest := "01000000" + "06000000" + "76616c756500" + "09000000" + "76616c75655f6c7000" +
		"4e11000000000000" +
		"00000000" +
		"01000000" + "03000000" + "746c00" + "08000000" + "756c70725f746c00" + "0800000000000000" +
		"3040000000000000" + "01"
	path := "05000000" + "2f782e7300"
	reverse := func(m *ulp.Metadata) ([]byte, error) { return m.AppendReverse(nil) }
	patch := func(m *ulp.Metadata) ([]byte, error) { return m.AppendBinary(nil) }
	for what, tc := range map[string]struct {
		path   string
		encode func(*ulp.Metadata) ([]byte, error)
		want   string
	}{
		"section": {"", patch, "01" + id + build + "08000000" + "6c6962742e736f00" +
			rest},
		"with path": {"/x.s", patch, "01" + id + path + build + "08000000" +
			"6c6962742e736f00" + rest},
		"reverse": {"", reverse, "02" + id + build + "07000000" + "6c6962742e736f"},
		"reverse with path": {"/x.s", reverse, "02" + id + path + build + "07000000" +
			"6c6962742e736f"},
	} {
		m.Path = tc.path
		got, err := tc.encode(m)
		if d := cmp.Diff(tc.want, hex.EncodeToString(got)); err != nil || d != "" {
			t.Errorf("%s: %v (-want +got):\n%s", what, err, d)
		}
	}
}

func TestMetadataRoundTrip(t *testing.T) {
	m := fullMetadata()
	got, err := ulp.ParseMetadata(encode(t, m))
	if d := cmp.Diff(m, got); err != nil || d != "" {
		t.Errorf("section: %v (-want +got):\n%s", err, d)
	}
	b, err := m.AppendReverse([]byte("kept"))
	if err != nil || string(b[:4]) != "kept" {
		t.Fatalf("AppendReverse: %q, %v", b, err)
	}
	got, err = ulp.ParseReverse(b[4:])
	if d := cmp.Diff(&ulp.Metadata{PatchID: m.PatchID, Target: m.Target}, got); err != nil ||
		d != "" {
		t.Errorf("reverse: %v (-want +got):\n%s", err, d)
	}
	m.Path = "/usr/lib64/glibc/a.so"
	got, err = ulp.ParseMetadataWithPath(encode(t, m))
	if d := cmp.Diff(m, got); err != nil || d != "" {
		t.Errorf("with path: %v (-want +got):\n%s", err, d)
	}
	b, _ = m.AppendReverse(nil)
	got, err = ulp.ParseReverseWithPath(b)
	if d := cmp.Diff(&ulp.Metadata{PatchID: m.PatchID, Path: m.Path, Target: m.Target},
		got); err != nil || d != "" {
		t.Errorf("reverse with path: %v (-want +got):\n%s", err, d)
	}
	if got, err := ulp.ParseMetadata(encode(t, m)); err == nil {
		t.Errorf("the form with a path read as a section: %v", got)
	}
}

func TestMetadataTruncated(t *testing.T) {
	m := fullMetadata()
	section := encode(t, m)
	reverse, _ := m.AppendReverse(nil)
	m.Path = "/a.so"
	withPath := encode(t, m)
	for what, tc := range map[string]struct {
		data  []byte
		parse func([]byte) (*ulp.Metadata, error)
	}{
		"section": {section, ulp.ParseMetadata}, "reverse": {reverse, ulp.ParseReverse},
		"with path": {withPath, ulp.ParseMetadataWithPath},
	} {
		for n := range len(tc.data) {
			got, err := tc.parse(tc.data[:n])
			if got != nil || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: first %d of %d bytes: %v, %v", what, n, len(tc.data), got, err)
			}
		}
		got, err := tc.parse(append(bytes.Clone(tc.data), 0))
		if got != nil || !errors.Is(err, ulp.ErrTrailing) {
			t.Errorf("%s: a byte behind the end: %v, %v", what, got, err)
		}
	}
}

// Offsets of the fields of fullMetadata's section.
const (
	offBuildID   = 33
	offTarget    = offBuildID + 4 + 20
	offFunctions = offTarget + 4 + 10
	offOld       = offFunctions + 4
	offDeps      = offOld + 4 + 14 + 4 + 10 + 8 + 4 + 2 + 4 + 2 + 8
	offRefs      = offDeps + 4 + 64
	offTLS       = offRefs + 4 + 4 + 6 + 4 + 11 + 16
)

func TestMetadataBadFields(t *testing.T) {
	max32 := []byte{0xff, 0xff, 0xff, 0xff}
	for what, tc := range map[string]struct {
		off  int
		put  []byte
		want error
	}{
		"type 0":                  {0, []byte{0}, ulp.ErrValue},
		"type of a reverse patch": {0, []byte{2}, ulp.ErrValue},
		"build-id of 19 bytes":    {offBuildID, []byte{19}, ulp.ErrValue},
		"build-id of 0 bytes":     {offBuildID, []byte{0}, ulp.ErrValue},
		"build-id of 4 GiB":       {offBuildID, max32, io.ErrUnexpectedEOF},
		"name of 0 bytes":         {offTarget, []byte{0}, ulp.ErrName},
		"name of 1 byte":          {offTarget, []byte{1}, ulp.ErrName},
		"name of 4 GiB":           {offTarget, max32, io.ErrUnexpectedEOF},
		"name without NUL":        {offTarget + 4 + 9, []byte{'x'}, ulp.ErrName},
		"name with NUL inside":    {offTarget + 4 + 3, []byte{0}, ulp.ErrName},
		"name empty but NUL":      {offTarget + 4, []byte{0}, ulp.ErrName},
		"0 functions":             {offFunctions, []byte{0}, io.ErrUnexpectedEOF},
		"1 function":              {offFunctions, []byte{1}, nil},
		"3 functions":             {offFunctions, []byte{3}, nil},
		"functions for 4 GiB":     {offFunctions, max32, io.ErrUnexpectedEOF},
		"function name of 4 GiB":  {offOld, max32, io.ErrUnexpectedEOF},
		"dependencies for 4 GiB":  {offDeps, max32, io.ErrUnexpectedEOF},
		"references for 4 GiB":    {offRefs, max32, io.ErrUnexpectedEOF},
		"1 reference":             {offRefs, []byte{1}, ulp.ErrTrailing},
		"0 references":            {offRefs, []byte{0}, ulp.ErrTrailing},
		"TLS 2":                   {offTLS, []byte{2}, ulp.ErrValue},
	} {
		data := encode(t, fullMetadata())
		copy(data[tc.off:], tc.put)
		got, err := ulp.ParseMetadata(data)
		var fe *symtab.FormatError
		if got != nil || !errors.As(err, &fe) || tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, %v; want %v", what, got, err, tc.want)
		}
	}
}

// lengthFields returns the offsets of all lengths and counts of metadata in the form of a section.
func lengthFields(data []byte, m *ulp.Metadata, reverse bool) []int {
	off := 33
	var at []int
	field := func(skip int) {
		at = append(at, off)
		off += 4 + skip
	}
	field(len(m.Target.BuildID))
	if reverse {
		field(len(m.Target.Name))
		return at
	}
	field(len(m.Target.Name) + 1)
	field(0)
	for _, f := range m.Functions {
		field(len(f.Old) + 1)
		field(len(f.New) + 1 + 8)
	}
	field(32 * len(m.Dependencies))
	field(0)
	for _, r := range m.References {
		field(len(r.Target) + 1)
		field(len(r.Reference) + 1 + 17)
	}
	if off != len(data) {
		panic("the layout is another one")
	}
	return at
}

// Each length and each count at 0, 1, one less, one more and the most there can be: an error, and
// no memory for what is not there.
func TestMetadataEveryLength(t *testing.T) {
	m := fullMetadata()
	reverse, err := m.AppendReverse(nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, tc := range map[string]struct {
		data  []byte
		at    []int
		parse func([]byte) (*ulp.Metadata, error)
	}{
		".ulp":     {encode(t, m), lengthFields(encode(t, m), m, false), ulp.ParseMetadata},
		".ulp.rev": {reverse, lengthFields(reverse, m, true), ulp.ParseReverse},
	} {
		for _, off := range tc.at {
			was := binary.LittleEndian.Uint32(tc.data[off:])
			for _, v := range []uint32{0, 1, was - 1, was + 1, math.MaxInt32, math.MaxUint32} {
				if v == was {
					continue
				}
				data := bytes.Clone(tc.data)
				binary.LittleEndian.PutUint32(data[off:], v)
				got, err := tc.parse(data)
				if fe, ok := errors.AsType[*symtab.FormatError](err); got != nil || !ok ||
					fe.Off > int64(len(data)) {
					t.Errorf("%s: %d at %d instead of %d: %v, %v", what, v, off, was, got, err)
				}
				if n := allocated(func() {
					_, _ = tc.parse(data)
				}); n > uint64(memoryFactor*len(data)+memorySlack) {
					t.Errorf("%s: %d at %d: %d bytes allocated", what, v, off, n)
				}
			}
		}
	}
}

func TestMetadataCannotEncode(t *testing.T) {
	for what, change := range map[string]func(*ulp.Metadata){
		"short build-id":   func(m *ulp.Metadata) { m.Target.BuildID = m.Target.BuildID[:19] },
		"no target name":   func(m *ulp.Metadata) { m.Target.Name = "" },
		"NUL in a target":  func(m *ulp.Metadata) { m.Target.Name = "a\x00b" },
		"no old name":      func(m *ulp.Metadata) { m.Functions[0].Old = "" },
		"no new name":      func(m *ulp.Metadata) { m.Functions[1].New = "" },
		"NUL in a pointer": func(m *ulp.Metadata) { m.References[0].Reference = "\x00" },
		"no variable":      func(m *ulp.Metadata) { m.References[0].Target = "" },
		"NUL in the path":  func(m *ulp.Metadata) { m.Path = "/a\x00" },
	} {
		m := fullMetadata()
		change(m)
		var fe *symtab.FormatError
		if b, err := m.AppendBinary(nil); b != nil || !errors.As(err, &fe) {
			t.Errorf("%s: %x, %v", what, b, err)
		}
	}
	m := fullMetadata()
	m.Target.Name = "a\x00"
	if b, err := m.AppendReverse(nil); b != nil || !errors.Is(err, ulp.ErrName) {
		t.Errorf("reverse: %x, %v", b, err)
	}
}

// However many functions the input claims and really has, memory stays within a small multiple of
// it.
func TestMetadataMemory(t *testing.T) {
	m := fullMetadata()
	for range 100_000 {
		m.Functions = append(m.Functions, ulp.Function{Old: "a", New: "b"})
		m.References = append(m.References, ulp.DataRef{Target: "a", Reference: "b"})
	}
	data := encode(t, m)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := ulp.ParseMetadata(data); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 4*uint64(len(data)) {
		t.Errorf("%d bytes allocated for %d of input", used, len(data))
	}
}

func FuzzParseMetadata(f *testing.F) {
	b, _ := fullMetadata().AppendBinary(nil)
	f.Add(b)
	m := fullMetadata()
	m.Path = "/a.so"
	b, _ = m.AppendBinary(nil)
	f.Add(b)
	m.Path = "/fifteen-more-char" // as long as a build-id, so that both forms begin alike
	b, _ = m.AppendBinary(nil)
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		checkMetadata(t, data, ulp.ParseMetadata, (*ulp.Metadata).AppendBinary)
		checkMetadata(t, data, ulp.ParseMetadataWithPath, (*ulp.Metadata).AppendBinary)
	})
}

func FuzzParseReverse(f *testing.F) {
	m := fullMetadata()
	b, _ := m.AppendReverse(nil)
	f.Add(b)
	m.Path = "/a.so"
	b, _ = m.AppendReverse(nil)
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		checkMetadata(t, data, ulp.ParseReverse, (*ulp.Metadata).AppendReverse)
		checkMetadata(t, data, ulp.ParseReverseWithPath, (*ulp.Metadata).AppendReverse)
	})
}

// checkMetadata requires that data is refused with a FormatError or is exactly what encoding its
// meaning gives.
func checkMetadata(t *testing.T, data []byte, parse func([]byte) (*ulp.Metadata, error),
	encode func(*ulp.Metadata, []byte) ([]byte, error)) {
	m, err := parse(data)
	if err != nil {
		var fe *symtab.FormatError
		if m != nil || !errors.As(err, &fe) || fe.Off < 0 || fe.Off > int64(len(data)) {
			t.Fatalf("%x: %v, %v", data, m, err)
		}
		return
	}
	b, err := encode(m, nil)
	if err != nil || !bytes.Equal(b, data) {
		t.Fatalf("%x: encoded again %x, %v", data, b, err)
	}
	again, err := parse(b)
	if d := cmp.Diff(m, again, cmpopts.EquateEmpty()); err != nil || d != "" {
		t.Fatalf("%x: %v (-was +is):\n%s", data, err, d)
	}
}
