package rpmfile_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/sassoftware/go-rpmutils"
)

// Tags of the signature header that tests set.
const (
	sigDSAHeader = 267
	sigRSAHeader = 268
	sigSHA1      = 269
	sigSHA256    = 273
	sigOpenPGP   = 278
	sigPGP       = 1002
	sigMD5       = 1004
	regionSig    = 62
	regionMain   = 63
)

// rawTag is a tag as encoded in a header.
type rawTag struct {
	tag, kind, count int32
	data             []byte
}

// rawHeader is a header that tests decode, change and encode.
type rawHeader []rawTag

// parts are the parts of a package.
type parts struct {
	lead     []byte
	sig, gen rawHeader
	payload  []byte // compressed
}

// takeApart decodes a valid package.
func takeApart(tb testing.TB, data []byte) *parts {
	tb.Helper()
	p := &parts{lead: data[:96]}
	var n int
	p.sig, n = decodeHeader(data[96:])
	rest := data[96+(n+7)/8*8:]
	p.gen, n = decodeHeader(rest)
	p.payload = rest[n:]
	return p
}

func decodeHeader(b []byte) (rawHeader, int) {
	tags, size := int(binary.BigEndian.Uint32(b[8:])), int(binary.BigEndian.Uint32(b[12:]))
	data := b[16+16*tags:][:size]
	var h rawHeader
	for i := range tags {
		e := b[16+16*i:]
		field := func(n int) int32 { return int32(binary.BigEndian.Uint32(e[4*n:])) }
		t := rawTag{tag: field(0), kind: field(1), count: field(3)}
		if t.tag == regionSig || t.tag == regionMain {
			continue // it would be wrong once the header is changed
		}
		end := 0
		switch width := widths[t.kind]; {
		case width > 0:
			end = width * int(t.count)
		default:
			for range t.count {
				end += bytes.IndexByte(data[int(field(2))+end:], 0) + 1
			}
		}
		t.data = slices.Clone(data[field(2):][:end])
		h = append(h, t)
	}
	return h, 16 + 16*tags + size
}

var widths = map[int32]int{
	rpmutils.RPM_CHAR_TYPE: 1, rpmutils.RPM_INT8_TYPE: 1, rpmutils.RPM_INT16_TYPE: 2,
	rpmutils.RPM_INT32_TYPE: 4,
	rpmutils.RPM_INT64_TYPE: 8, rpmutils.RPM_BIN_TYPE: 1,
}

// encode is the inverse of decodeHeader.
func (h rawHeader) encode() []byte {
	var index, data []byte
	for _, t := range h {
		for w := widths[t.kind]; w > 1 && len(data)%w != 0; {
			data = append(data, 0)
		}
		for _, n := range []int32{t.tag, t.kind, int32(len(data)), t.count} {
			index = binary.BigEndian.AppendUint32(index, uint32(n))
		}
		data = append(data, t.data...)
	}
	return slices.Concat(intro(len(h), len(data)), index, data)
}

// intro returns the beginning of a header with that many tags and bytes of data.
func intro(tags, data int) []byte {
	b := []byte{0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0}
	b = binary.BigEndian.AppendUint32(b, uint32(tags))
	return binary.BigEndian.AppendUint32(b, uint32(data))
}

// find returns the tag, or nil.
func (h *rawHeader) find(tag int32) *rawTag {
	for i := range *h {
		if (*h)[i].tag == tag {
			return &(*h)[i]
		}
	}
	return nil
}

func (h *rawHeader) drop(tags ...int32) {
	*h = slices.DeleteFunc(*h, func(t rawTag) bool { return slices.Contains(tags, t.tag) })
}

func (h *rawHeader) set(t rawTag) {
	h.drop(t.tag)
	*h = append(*h, t)
}

func stringsTag(tag int32, values ...string) rawTag {
	t := rawTag{tag: tag, kind: rpmutils.RPM_STRING_ARRAY_TYPE, count: int32(len(values))}
	for _, v := range values {
		t.data = append(append(t.data, v...), 0)
	}
	return t
}

func stringTag(tag int32, value string) rawTag {
	t := stringsTag(tag, value)
	t.kind = rpmutils.RPM_STRING_TYPE
	return t
}

func int32Tag(tag int32, values ...uint32) rawTag {
	t := rawTag{tag: tag, kind: rpmutils.RPM_INT32_TYPE, count: int32(len(values))}
	for _, v := range values {
		t.data = binary.BigEndian.AppendUint32(t.data, v)
	}
	return t
}

func binTag(tag int32, data []byte) rawTag {
	return rawTag{tag: tag, kind: rpmutils.RPM_BIN_TYPE, count: int32(len(data)), data: data}
}

// seal recomputes the digests, as an attacker would.
func (p *parts) seal() {
	if p.gen.find(rpmutils.PAYLOADDIGEST) != nil {
		p.gen.set(stringsTag(rpmutils.PAYLOADDIGEST, fmt.Sprintf("%x", sha256.Sum256(p.payload))))
	}
	p.sig.drop(sigSHA1, sigMD5)
	p.sig.set(stringTag(sigSHA256, fmt.Sprintf("%x", sha256.Sum256(p.gen.encode()))))
}

// bytes assembles the package.
func (p *parts) bytes() []byte {
	sig := p.sig.encode()
	pad := make([]byte, -len(sig)&7)
	return slices.Concat(p.lead, sig, pad, p.gen.encode(), p.payload)
}

// crafted returns the gzip package after a change, with valid digests.
func crafted(tb testing.TB, change func(*parts)) []byte {
	tb.Helper()
	p := takeApart(tb, bytesOf(tb, pkg(tb, "gzip")))
	change(p)
	p.seal()
	return p.bytes()
}

// cpioEntry is an entry of a payload. One without a name is in RPM's short form.
type cpioEntry struct {
	name   string
	number int // in the short form
	mode   uint32
	data   string
	size   int    // instead of the data's
	head   string // instead of magic and numbers
}

// archive makes a gzip payload of the entries and a trailer.
func archive(entries ...cpioEntry) []byte {
	return zipped(slices.Concat(rawArchive(entries...), rawArchive(cpioEntry{name: "TRAILER!!!"})))
}

func rawArchive(entries ...cpioEntry) []byte {
	var b []byte
	align := func() { b = append(b, make([]byte, -len(b)&3)...) }
	for _, e := range entries {
		size := max(e.size, len(e.data))
		switch {
		case e.head != "":
			b = append(append(append(b, e.head...), e.name...), 0)
		case e.name == "":
			b = fmt.Appendf(b, "07070X%08x", e.number)
		default:
			b = fmt.Appendf(b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
				1, e.mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(e.name)+1, 0, e.name)
		}
		align()
		b = append(b, e.data...)
		align()
	}
	return b
}

func zipped(data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(data)
	_ = z.Close()
	return b.Bytes()
}

func unzipped(tb testing.TB, data []byte) []byte {
	tb.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		tb.Fatal(err)
	}
	out, err := io.ReadAll(z)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}
