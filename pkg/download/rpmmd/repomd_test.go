package rpmmd_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/rpmmd"
)

var (
	sha256A = strings.Repeat("aa", 32)
	sha512B = strings.Repeat("bb", 64)
)

// repomd returns a repomd.xml with the given content.
func repomd(content ...string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><repomd ` +
		`xmlns="http://linux.duke.edu/metadata/repo" ` +
		`xmlns:rpm="http://linux.duke.edu/metadata/rpm"><revision> 17 </revision>` +
		strings.Join(content, "") + "</repomd>\n"
}

// data returns an entry; more is its content besides the checksum and the location.
func data(kind, href string, more ...string) string {
	return fmt.Sprintf(`<data type="%s"><checksum type="sha256">%s</checksum><location `+
		`href="%s"/>%s</data>`,
		kind, sha256A, href, strings.Join(more, ""))
}

func TestParseRepomd(t *testing.T) {
	text := repomd(
		data("primary", "repodata/a-primary.xml.gz", `<open-checksum type="SHA512">`+sha512B+
			`</open-checksum>`,
			"<timestamp>1600000000.25</timestamp><size>7</size><open-size> 99 "+
				"</open-size><unknown><deep/></unknown>"),
		`<!-- comment --><data type="other"><checksum type="sha1">00</checksum><location `+
			`href="other.xml"/></data>`,
		`<data type="susedata"><checksum type="md5">00</checksum><checksum type="sha256">`+sha256A+
			`</checksum>`+
			`<location href="s.xml"/><timestamp>0</timestamp></data>`,
	)
	got, err := rpmmd.ParseRepomd([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	sum := digest.Digest{Algorithm: "sha256", Hex: sha256A}
	want := &rpmmd.Repomd{Revision: "17", Data: []rpmmd.Data{
		{
			Type: "primary", Location: "repodata/a-primary.xml.gz", Checksum: sum, Size: 7,
			OpenSize:     99,
			OpenChecksum: digest.Digest{Algorithm: "sha512", Hex: sha512B},
			Timestamp:    time.Unix(1600000000, 0).UTC(),
		},
		{Type: "other", Location: "other.xml"},
		{Type: "susedata", Location: "s.xml", Checksum: sum},
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestParseRepomdErrors(t *testing.T) {
	valid := data("primary", "a.xml.gz")
	tests := map[string]struct {
		text string
		want error
	}{
		"empty":      {"", rpmmd.ErrMalformed},
		"a web page": {"<!DOCTYPE html><html><body>404</body></html>", rpmmd.ErrMalformed},
		"other namespace": {strings.Replace(repomd(valid), "metadata/repo", "metadata/x", 1),
			rpmmd.ErrMalformed},
		"cut":            {repomd(valid)[:200], rpmmd.ErrMalformed},
		"after the root": {repomd(valid) + "x", rpmmd.ErrMalformed},
		"second root":    {repomd(valid) + "<repomd/>", rpmmd.ErrMalformed},
		"unknown entity": {repomd(data("primary", "&a;.xml")), rpmmd.ErrMalformed},
		"entity bomb": {`<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>` +
			repomd(data("primary", "&b;")), rpmmd.ErrMalformed},
		"encoding": {strings.Replace(repomd(valid), "UTF-8", "ISO-8859-1", 1),
			rpmmd.ErrMalformed},
		"not UTF-8": {repomd(data("primary", "\xff.xml")), rpmmd.ErrMalformed},
		"too large": {repomd(valid) + strings.Repeat(" ", rpmmd.MaxRepomd),
			rpmmd.ErrTooLarge},
		"no checksum": {repomd(`<data type="primary"><location href="a"/></data>`),
			rpmmd.ErrMalformed},
		"weak":         {repomd(strings.Replace(valid, "sha256", "sha", 1)), digest.ErrWeak},
		"weak MD5":     {repomd(strings.Replace(valid, "sha256", "md5", 1)), digest.ErrWeak},
		"short digest": {repomd(strings.Replace(valid, "aaaa", "", 1)), rpmmd.ErrMalformed},
		"short open digest": {repomd(data("x", "a",
			`<open-checksum type="sha256">aa</open-checksum>`)), rpmmd.ErrMalformed},
		"no location": {repomd(strings.Replace(valid, "<location", "<elsewhere", 1)),
			rpmmd.ErrMalformed},
		"two locations": {repomd(data("primary", "a", `<location href="b"/>`)),
			rpmmd.ErrMalformed},
		"xml:base 0": {repomd(strings.Replace(valid, "<location ",
			`<location xml:base="../x" `, 1)), rpmmd.ErrLocation},
		"xml:base 1": {repomd(strings.Replace(valid, "<location ",
			`<location xml:base="/x" `, 1)), rpmmd.ErrLocation},
		"xml:base 2": {repomd(strings.Replace(valid, "<location ",
			`<location xml:base="http://u:p@h/x" `, 1)), rpmmd.ErrLocation},
		"xml:base 3": {repomd(strings.Replace(valid, "<location ",
			`<location xml:base="http://h/x?y" `, 1)), rpmmd.ErrLocation},
		"xml:base 4": {repomd(strings.Replace(valid, "<location ",
			`<location xml:base="https://h/a/../b" `, 1)), rpmmd.ErrLocation},
		"xml:base 5": {repomd(strings.Replace(valid, "<location ",
			`<location xml:base="a\\b" `, 1)), rpmmd.ErrLocation},
		"xml:base 6": {repomd(strings.Replace(valid, "<location ",
			`<location xml:base="plugin:/x" `, 1)), rpmmd.ErrLocation},
		"negative size": {repomd(data("primary", "a", "<size>-1</size>")), rpmmd.ErrMalformed},
		"huge size": {repomd(data("primary", "a", "<size>9223372036854775808</size>")),
			rpmmd.ErrMalformed},
		"open size": {repomd(data("primary", "a", "<open-size>1e3</open-size>")),
			rpmmd.ErrMalformed},
		"time": {repomd(data("primary", "a", "<timestamp>now</timestamp>")),
			rpmmd.ErrMalformed},
		"distant time": {repomd(data("primary", "a", "<timestamp>253402300800</timestamp>")),
			rpmmd.ErrMalformed},
		"deep": {repomd(strings.Repeat("<a>", 100_000)), rpmmd.ErrMalformed},
	}
	for name, tc := range tests {
		if got, err := rpmmd.ParseRepomd([]byte(tc.text)); !errors.Is(err, tc.want) || got != nil {
			t.Errorf("%s: %+v, %v; want %v", name, got, err, tc.want)
		}
	}
}

func TestLocations(t *testing.T) {
	for _, href := range []string{
		"a", "repodata/primary.xml.gz", "x86_64/mini-1.0~rc1-2^git1.x86_64.rpm", "a..b/...",
		"a/b:c", "libstdc%2B%2B.rpm", "a b",
	} {
		if _, err := rpmmd.ParseRepomd([]byte(repomd(data("primary", href)))); err != nil {
			t.Errorf("%q: %v", href, err)
		}
	}
	for _, href := range []string{
		"", ".", "..", "../a", "a/../b", "a/../../b", "a/..", "./a", "a//b", "a/", "/a", "//host/a",
		"http://host/a", "file:a", "C:a",
		"a?b", "a#b", "a?../b", `a\b`, `..\a`, "%2e%2e/a", "a/%2E%2E/b", "%252e%252e/a", "%2fa",
		"a%3fb", "a%00b", "a%", "a%zz",
		"a&#9;b", "a&#x7f;b", strings.Repeat("a", 1025),
	} {
		if got, err := rpmmd.ParseRepomd([]byte(repomd(data("primary", href)))); !errors.Is(err,
			rpmmd.ErrLocation) || got != nil {
			t.Errorf("%.40q: %v; want ErrLocation", href, err)
		}
	}
}

func TestPrimary(t *testing.T) {
	list := &rpmmd.Repomd{Data: []rpmmd.Data{
		{Type: "primary_zck", Location: "a.zck"}, {Type: "primary", Location: "b.xml.zck"},
		{Type: "primary_db", Location: "c.sqlite.gz"}, {Type: "primary", Location: "d.xml.zst"},
	}}
	if d, err := list.Primary(); err != nil || d.Location != "d.xml.zst" {
		t.Errorf("Primary = %v, %v", d, err)
	}
	list.Data = list.Data[:3]
	_, err := list.Primary()
	if !errors.Is(err, rpmmd.ErrNoPrimary) || !strings.Contains(err.Error(), "b.xml.zck") ||
		!strings.Contains(err.Error(), "primary_db") {
		t.Errorf("error %v; want ErrNoPrimary and the existing forms", err)
	}
	if _, err := new(rpmmd.Repomd).Primary(); !errors.Is(err, rpmmd.ErrNoPrimary) {
		t.Errorf("nothing at all: %v", err)
	}
}

func FuzzParseRepomd(f *testing.F) {
	f.Add([]byte(repomd(data("primary", "a.xml.gz", "<size>1</size><timestamp>1</timestamp>"))))
	f.Add([]byte(repomd(data("primary", "%2e%2e/a"),
		`<data type="x"><checksum type="md5">1</checksum><location href="x"/></data>`)))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := rpmmd.ParseRepomd(text)
		if err != nil {
			if r != nil {
				t.Fatalf("%+v and %v", r, err)
			}
			return
		}
		for _, d := range r.Data {
			if strings.HasPrefix(d.Location, "/") || strings.Contains("/"+d.Location+"/", "/../") ||
				d.Location == "" || d.Size < 0 ||
				d.OpenSize < 0 || d.Type == "primary" && d.Checksum.IsZero() {
				t.Errorf("%+v", d)
			}
		}
		if d, err := r.Primary(); err == nil && d.Type != "primary" {
			t.Errorf("Primary = %+v", d)
		}
	})
}

// TestBase has locations below a base: a part of the path, or another place.
func TestBase(t *testing.T) {
	for base, want := range map[string]struct{ base, location string }{
		"":                      {"", "repodata/p.xml"},
		".":                     {"", "repodata/p.xml"},
		"sub/":                  {"", "sub/repodata/p.xml"},
		"./sub/dir":             {"", "sub/dir/repodata/p.xml"},
		"https://h.example/x/":  {"https://h.example/x/", "repodata/p.xml"},
		"file:///srv/of/others": {"file:///srv/of/others", "repodata/p.xml"},
	} {
		text := repomd(`<data type="primary"><checksum type="sha256">` + strings.Repeat("0", 64) +
			`</checksum><location xml:base="` + base + `" href="repodata/p.xml"/></data>`)
		r, err := rpmmd.ParseRepomd([]byte(text))
		if err != nil {
			t.Errorf("%q: %v", base, err)
			continue
		}
		if d := r.Data[0]; d.Base != want.base || d.Location != want.location {
			t.Errorf("%q: %q, %q; want %+v", base, d.Base, d.Location, want)
		}
	}
}
