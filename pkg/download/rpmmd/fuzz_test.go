package rpmmd

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzReadPrimary compares the scanner with encoding/xml over whole documents: if both accept one,
// they find the same wanted packages, and the scanner accepts everything that encoding/xml does,
// except for what it documents.
func FuzzReadPrimary(f *testing.F) {
	const start = `<metadata xmlns="http://linux.duke.edu/metadata/common" ` +
		`xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="1">`
	rest := `<arch>x</arch><version ver="1" rel="2"/><checksum type="sha256">` +
		strings.Repeat("ab", 32) +
		`</checksum><size package="7"/><location href="a.rpm"/><format><rpm:provides><rpm:entry ` +
		`name="p" flags="EQ" ver="1"/>` +
		`</rpm:provides></format></package>`
	for _, s := range []string{
		"<package><name>glibc</name>" + rest, "<package><name>other</name>" + rest,
		"<package><name>g&#108;ibc</name>" + rest,
		"<!-- <package> --><package><name><![CDATA[glibc]]></name>" + rest,
		"<package a='>'><name\n>glibc</name >" + rest,
		"<package><x a='/'/><y><name>glibc</name></y><name>other</name>" + rest,
		"<?x <?><package><name>glibc</name>" + rest,
		`<c:package xmlns:c="http://linux.duke.edu/metadata/common">` +
			`<c:name>glibc</c:name></c:package>`,
		"<package/>",
	} {
		f.Add([]byte("<?xml version='1.0' encoding='utf-8'?>" + start + s + "</metadata>\n"))
	}
	want := func(name string) bool { return name == "glibc" }
	f.Fuzz(func(t *testing.T, text []byte) {
		var found []Package
		err := ReadPrimary(t.Context(), bytes.NewReader(text), want, func(p Package) error {
			found = append(found, p)
			return nil
		})
		expected, ok := wholeDocument(text, want)
		switch {
		case err != nil && ok && !errors.Is(err, errUnusual) && !errors.Is(err, ErrTooLarge) &&
			!strings.Contains(err.Error(), "two names"):
			t.Errorf("rejected: %v; encoding/xml finds %d", err, len(expected))
		case err == nil && ok:
			if d := cmp.Diff(expected, found); d != "" {
				t.Errorf("(-encoding/xml +ReadPrimary):\n%s", d)
			}
		}
	})
}

// wholeDocument decodes a document, and reports whether it and every wanted package in it are
// valid.
func wholeDocument(text []byte, want func(string) bool) (found []Package, ok bool) {
	var x struct {
		XMLName  xml.Name
		Count    []string     `xml:"packages,attr"`
		Packages []xmlPackage `xml:"http://linux.duke.edu/metadata/common package"`
	}
	if decodeDocument(bytes.TrimPrefix(text, []byte("\ufeff")), &x) != nil ||
		x.XMLName != (xml.Name{Space: commonNS, Local: "metadata"}) {
		return nil, false
	}
	if len(x.Count) > 1 || repeated(text) {
		return nil, false
	}
	if len(x.Count) == 1 {
		if n, err := number(x.Count[0]); err != nil || n != int64(len(x.Packages)) ||
			x.Count[0] != strings.TrimSpace(x.Count[0]) || x.Count[0] == "" {
			return nil, false
		}
	}
	for _, p := range x.Packages {
		name, err := p.name()
		if err != nil {
			return nil, false
		}
		if !want(name) {
			continue
		}
		converted, err := p.convert()
		if err != nil {
			return nil, false
		}
		found = append(found, converted)
	}
	return found, true
}

// repeated reports whether an attribute occurs twice in a tag, which encoding/xml accepts.
func repeated(text []byte) bool {
	for d := xml.NewDecoder(bytes.NewReader(text)); ; {
		token, err := d.Token()
		if err != nil {
			return !errors.Is(err, io.EOF)
		}
		if start, ok := token.(xml.StartElement); ok {
			var names []string
			for _, a := range start.Attr {
				if slices.Contains(names, a.Name.Local) {
					return true
				}
				names = append(names, a.Name.Local)
			}
		}
	}
}
