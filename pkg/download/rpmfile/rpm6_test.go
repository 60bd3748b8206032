package rpmfile_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sassoftware/go-rpmutils"

	"github.com/lpbuild/lpbuild/internal/pgptest"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
	"github.com/lpbuild/lpbuild/pkg/download/rpmfile"
)

// Tags of RPM 6, https://rpm-software-management.github.io/rpm/manual/format_v6.html.
const (
	sigSHA3256        = 279
	payloadSHA256ALT  = 5097
	payloadSize       = 5112
	payloadSizeALT    = 5113
	rpmFormat         = 5114
	payloadSHA512     = 5121
	payloadSHA512ALT  = 5122
	payloadSHA3256    = 5123
	payloadSHA3256ALT = 5124
)

// toRPM6 converts the gzip package to RPM 6: entries of the payload are indexes of files, there are
// several digests and no PAYLOADDIGESTALGO, and file sizes have 64 bits.
func toRPM6(tb testing.TB, p *parts) {
	tb.Helper()
	raw := unzipped(tb, p.payload)
	short := shorten(tb, raw, fileNames(p))
	p.payload = zipped(short)
	p.gen.drop(rpmutils.PAYLOADDIGESTALGO)
	sizes := p.gen.find(rpmutils.FILESIZES)
	long := rawTag{tag: rpmutils.LONGFILESIZES, kind: rpmutils.RPM_INT64_TYPE, count: sizes.count}
	for i := range sizes.count {
		long.data = binary.BigEndian.AppendUint64(long.data,
			uint64(binary.BigEndian.Uint32(sizes.data[4*i:])))
	}
	p.gen.drop(rpmutils.FILESIZES)
	p.gen.set(long)
	p.gen.set(int32Tag(rpmFormat, 6))
	p.gen.set(int64Tag(payloadSize, uint64(len(p.payload))))
	p.gen.set(int64Tag(payloadSizeALT, uint64(len(short))))
	p.gen.set(stringsTag(payloadSHA256ALT, hexOf256(short)))
	p.gen.set(stringsTag(payloadSHA512ALT, hexOf512(short)))
	p.gen.set(stringsTag(payloadSHA3256ALT, hexOf3(short)))
	sealRPM6(p)
}

// sealRPM6 computes the digests of RPM 6 again, and drops those that it no longer has.
func sealRPM6(p *parts) {
	p.gen.set(stringsTag(rpmutils.PAYLOADDIGEST, hexOf256(p.payload)))
	p.gen.set(stringsTag(payloadSHA512, hexOf512(p.payload)))
	p.gen.set(stringsTag(payloadSHA3256, hexOf3(p.payload)))
	p.sealHeaderRPM6()
}

func (p *parts) sealHeaderRPM6() {
	slices.SortFunc(p.gen, func(a, b rawTag) int { return int(a.tag - b.tag) })
	gen := p.gen.encodeRegion(regionMain)
	p.sig = rawHeader{stringTag(sigSHA256, hexOf256(gen)), stringTag(sigSHA3256, hexOf3(gen))}
}

func hexOf256(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
func hexOf512(b []byte) string { s := sha512.Sum512(b); return hex.EncodeToString(s[:]) }
func hexOf3(b []byte) string   { s := sha3.Sum256(b); return hex.EncodeToString(s[:]) }

func int64Tag(tag int32, value uint64) rawTag {
	return rawTag{tag: tag, kind: rpmutils.RPM_INT64_TYPE, count: 1,
		data: binary.BigEndian.AppendUint64(nil, value)}
}

// fileNames returns the names in the header's list, as in the payload.
func fileNames(p *parts) []string {
	texts := func(tag int32) []string {
		return strings.Split(strings.TrimSuffix(string(p.gen.find(tag).data), "\x00"), "\x00")
	}
	dirs, indexes := texts(rpmutils.DIRNAMES), p.gen.find(rpmutils.DIRINDEXES).data
	var names []string
	for i, base := range texts(rpmutils.BASENAMES) {
		names = append(names, "."+dirs[binary.BigEndian.Uint32(indexes[4*i:])]+base)
	}
	return names
}

// shorten converts an archive to RPM's own form.
func shorten(tb testing.TB, raw []byte, names []string) []byte {
	tb.Helper()
	var entries []byte
	for off := 0; ; {
		number := func(i int) int {
			n, err := strconv.ParseUint(string(raw[off+6+8*i:off+14+8*i]), 16, 32)
			if err != nil {
				tb.Fatal(err)
			}
			return int(n)
		}
		size, length := number(6), number(11)
		name := string(raw[off+110 : off+110+length-1])
		body := (off + 110 + length + 3) &^ 3
		if name == "TRAILER!!!" {
			return slices.Concat(entries, rawArchive(cpioEntry{name: name}))
		}
		index := slices.Index(names, name)
		if index < 0 {
			tb.Fatalf("%q is not in %q", name, names)
		}
		entries = append(entries, fmt.Appendf(nil, "07070X%08x\x00\x00", index)...)
		entries = append(entries, raw[body:(body+size+3)&^3]...)
		off = (body + size + 3) &^ 3
	}
}

// encodeRegion is encode with the region tag that RPM itself requires.
func (h rawHeader) encodeRegion(region int32) []byte {
	plain := h.encode()
	tags, size := int32(len(h)), int32(binary.BigEndian.Uint32(plain[12:]))
	entry := func(off int32) []byte {
		var b []byte
		for _, n := range []int32{region, rpmutils.RPM_BIN_TYPE, off, 16} {
			b = binary.BigEndian.AppendUint32(b, uint32(n))
		}
		return b
	}
	return slices.Concat(intro(int(tags)+1, int(size)+16), entry(size), plain[16:],
		entry(-16*(tags+1)))
}

func (p *parts) bytesRPM6() []byte {
	sig := p.sig.encodeRegion(regionSig)
	return slices.Concat(p.lead, sig, make([]byte, -len(sig)&7), p.gen.encodeRegion(regionMain),
		p.payload)
}

func rpm6(tb testing.TB) *parts {
	tb.Helper()
	p := takeApart(tb, bytesOf(tb, pkg(tb, "gzip")))
	toRPM6(tb, p)
	return p
}

// TestRPM6 reads a package of RPM 6, which RPM itself accepts, signed in the only tag that RPM 6
// writes.
func TestRPM6(t *testing.T) {
	p := rpm6(t)
	signature := pgptest.Get(t, pgptest.RSA).Sign(t, p.gen.encodeRegion(regionMain))
	p.sig = append(p.sig, stringsTag(sigOpenPGP, base64.StdEncoding.EncodeToString(signature)))
	file := filepath.Join(t.TempDir(), "six.rpm")
	write(t, file, p.bytesRPM6())
	if out, err := exec.Command("rpmkeys", "-K", "--nosignature",
		file).CombinedOutput(); err != nil {
		t.Fatalf("rpmkeys: %v\n%s", err, out)
	}
	r, plain := open(t, file), open(t, pkg(t, "gzip"))
	if got, want := r.NEVRA(), query(t, file,
		"%{name}-%{epoch}:%{version}-%{release}.%{arch}"); got != want {
		t.Errorf("got %s, rpm says %s", got, want)
	}
	accepted(t, r, pgptest.RSA, 4)
	refused(t, r, ring(t, pgptest.OtherRSA), pgp.ErrUnknownKey)
	if err := r.CheckDigests(t.Context()); err != nil {
		t.Error(err)
	}
	if !slices.Equal(r.Files(), plain.Files()) {
		t.Errorf("got %v\nwant %v", r.Files(), plain.Files())
	}
	if got, want := contents(t, r), contents(t, plain); !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

// contents returns name and digest of every regular file.
func contents(t *testing.T, r *rpmfile.RPM) []string {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var want []string
	for _, f := range r.Files() {
		if f.Mode.IsRegular() {
			want = append(want, f.Name)
		}
	}
	got, err := r.Extract(t.Context(), root, want, rpmfile.ExtractOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range got {
		all = append(all, e.Name+" "+e.SHA256)
	}
	return all
}

// TestRPM6Digests changes one digest after another: each that is present must match.
func TestRPM6Digests(t *testing.T) {
	for _, tag := range []int32{rpmutils.PAYLOADDIGEST, payloadSHA512, payloadSHA3256} {
		t.Run(fmt.Sprint(tag), func(t *testing.T) {
			p := rpm6(t)
			data := p.gen.find(tag).data
			data[0] = "10"[data[0]&1]
			p.sealHeaderRPM6()
			if err := parse(t, p.bytesRPM6()).CheckDigests(t.Context()); !errors.Is(err,
				digest.ErrMismatch) {
				t.Errorf("got %v", err)
			}
			p = rpm6(t)
			for _, other := range []int32{rpmutils.PAYLOADDIGEST, payloadSHA512, payloadSHA3256} {
				if other != tag {
					p.gen.drop(other)
				}
			}
			p.sealHeaderRPM6()
			if err := parse(t, p.bytesRPM6()).CheckDigests(t.Context()); err != nil {
				t.Errorf("with this one alone: %v", err)
			}
		})
	}
	p := rpm6(t)
	p.sig.find(sigSHA3256).data[0] ^= 1
	p.sig.drop(sigSHA256)
	if _, err := rpmfile.New(bytes.NewReader(p.bytesRPM6()), int64(len(p.bytesRPM6())),
		"six.rpm"); !errors.Is(err, digest.ErrMismatch) {
		t.Errorf("SHA3-256 of the header: got %v", err)
	}
}

// TestVerifyNoPayloadAlgorithm has a payload digest without its algorithm, as RPM 4.14 betas and
// RPM 6 write it: RPM regards it as SHA-256.
func TestVerifyNoPayloadAlgorithm(t *testing.T) {
	change := func(p *parts) { p.gen.drop(rpmutils.PAYLOADDIGESTALGO) }
	p := signedParts(t, pgptest.RSA, "", change)
	accepted(t, parse(t, p.bytes()), pgptest.RSA, 3)
	p.payload[len(p.payload)/2] ^= 1
	refused(t, parse(t, p.bytes()), ring(t, pgptest.RSA), digest.ErrMismatch)
}

// TestVerifyOneUnknown has a good signature beside unreadable ones: each is judged separately.
func TestVerifyOneUnknown(t *testing.T) {
	// version, type, public-key algorithm or hash
	unknown := func(good []byte, field int, value byte) string {
		odd := bytes.Clone(good)
		odd[len(odd)-bodyLength(t, odd)+field] = value
		return base64.StdEncoding.EncodeToString(odd)
	}
	tests := map[string]func(good []byte) string{
		"an algorithm of the future": func(good []byte) string { return unknown(good, 2, 30) },
		"a hash of the future":       func(good []byte) string { return unknown(good, 3, 99) },
		"a version of the future":    func(good []byte) string { return unknown(good, 0, 7) },
		"a packet of the future": func([]byte) string {
			return base64.StdEncoding.EncodeToString([]byte{0xc0 | 60, 3, 'a', 'b', 'c'})
		},
		"something other than OpenPGP": func([]byte) string {
			return base64.StdEncoding.EncodeToString([]byte("-----BEGIN X-----"))
		},
		"not base64": func([]byte) string { return "!" },
		"half a packet": func(good []byte) string {
			return base64.StdEncoding.EncodeToString(good[:20])
		},
	}
	for name, odd := range tests {
		t.Run(name, func(t *testing.T) {
			p := rpm6(t)
			good := pgptest.Get(t, pgptest.Ed25519).Sign(t, p.gen.encodeRegion(regionMain))
			text := base64.StdEncoding.EncodeToString(good)
			for _, sigs := range [][]string{{odd(good), text}, {text, odd(good)}} {
				p.sig.set(stringsTag(sigOpenPGP, sigs...))
				r := parse(t, p.bytesRPM6())
				accepted(t, r, pgptest.Ed25519, 4)
				refused(t, r, ring(t, pgptest.RSA), pgp.ErrUnknownKey)
			}
			p.sig.set(stringsTag(sigOpenPGP, odd(good)))
			refused(t, parse(t, p.bytesRPM6()), ring(t, pgptest.Ed25519), pgp.ErrBadSignature)
		})
	}
	p := rpm6(t)
	good := pgptest.Get(t, pgptest.Ed25519).Sign(t, p.gen.encodeRegion(regionMain))
	p.sig.set(binTag(sigRSAHeader, []byte("garbage")))
	p.sig.set(stringsTag(sigOpenPGP, base64.StdEncoding.EncodeToString(good)))
	accepted(t, parse(t, p.bytesRPM6()), pgptest.Ed25519, 4)
	many := make([]string, 40)
	for i := range many {
		many[i] = base64.StdEncoding.EncodeToString(good)
	}
	p.sig.set(stringsTag(sigOpenPGP, many...))
	refused(t, parse(t, p.bytesRPM6()), ring(t, pgptest.Ed25519), pgp.ErrBadSignature)
}

// bodyLength returns the length of the body of the only packet in sig.
func bodyLength(t *testing.T, sig []byte) int {
	t.Helper()
	if sig[0] != 0x88 { // old form, one byte of length
		t.Fatalf("packet begins with %#x", sig[0])
	}
	return int(sig[1])
}
