package rpmmd

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lpbuild/lpbuild/pkg/download/decompress"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
)

// MaxRepomd is the maximum size of a repomd.xml in bytes. Real ones have some kilobytes.
const MaxRepomd = 4 << 20

// Namespaces of the formats.
const (
	repoNS   = "http://linux.duke.edu/metadata/repo"
	commonNS = "http://linux.duke.edu/metadata/common"
	rpmNS    = "http://linux.duke.edu/metadata/rpm"
)

// Repomd is the content of repomd.xml, which lists the repository's other metadata.
type Repomd struct {
	Revision string // chosen by the repository's tool, often seconds since 1970
	Data     []Data // in the order of the file
}

// Data describes one metadata file.
type Data struct {
	Type string // "primary", "filelists", "updateinfo", …
	// path inside the repository or below Base: relative, clean, without ".."
	Location string
	Base     string // http, https or file URL of another place; "" means the repository
	// of the file; zero if only weak ones are given, which never holds for "primary"
	Checksum     digest.Digest
	OpenChecksum digest.Digest // of the decompressed file; zero if none or only weak ones are given
	Size         int64         // of the file in bytes; 0 if not given
	OpenSize     int64         // of the decompressed file in bytes; 0 if not given
	Timestamp    time.Time     // zero if not given
}

type xmlRepomd struct {
	XMLName  xml.Name  `xml:"http://linux.duke.edu/metadata/repo repomd"`
	Revision string    `xml:"http://linux.duke.edu/metadata/repo revision"`
	Data     []xmlData `xml:"http://linux.duke.edu/metadata/repo data"`
}

type xmlData struct {
	Type         string    `xml:"type,attr"`
	Checksum     []xmlSum  `xml:"http://linux.duke.edu/metadata/repo checksum"`
	OpenChecksum []xmlSum  `xml:"http://linux.duke.edu/metadata/repo open-checksum"`
	Location     []xmlHref `xml:"http://linux.duke.edu/metadata/repo location"`
	Timestamp    string    `xml:"http://linux.duke.edu/metadata/repo timestamp"`
	Size         string    `xml:"http://linux.duke.edu/metadata/repo size"`
	OpenSize     string    `xml:"http://linux.duke.edu/metadata/repo open-size"`
}

type xmlSum struct {
	Type  string `xml:"type,attr"`
	Value string `xml:",chardata"`
}

type xmlHref struct {
	Href string `xml:"href,attr"`
	Base string `xml:"http://www.w3.org/XML/1998/namespace base,attr"`
}

// ParseRepomd parses repomd.xml. An error wraps [ErrMalformed], [ErrTooLarge], [ErrLocation] or, if
// the list of packages has only MD5 or SHA-1 digests, [digest.ErrWeak].
func ParseRepomd(data []byte) (*Repomd, error) {
	if len(data) > MaxRepomd {
		return nil, fmt.Errorf("repomd.xml: %d bytes, limit %d: %w", len(data), MaxRepomd,
			ErrTooLarge)
	}
	var x xmlRepomd
	if err := decodeDocument(data, &x); err != nil {
		return nil, fmt.Errorf("repomd.xml: %w: %w", ErrMalformed, err)
	}
	r := &Repomd{Revision: strings.TrimSpace(x.Revision)}
	for _, entry := range x.Data {
		d, err := entry.data()
		if err != nil {
			return nil, fmt.Errorf("repomd.xml: data of type %.80q: %w", entry.Type, err)
		}
		r.Data = append(r.Data, d)
	}
	return r, nil
}

// decodeDocument decodes one XML document. Only blanks and comments may follow its root element.
func decodeDocument(data []byte, v any) error {
	d := xml.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(v); err != nil {
		return noEOF(err)
	}
	for {
		switch token, err := d.Token(); t := token.(type) {
		case nil:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return errors.New("text after the root element")
			}
		case xml.StartElement, xml.Directive:
			return errors.New("markup after the root element")
		}
	}
}

// data checks an entry and returns it.
func (x *xmlData) data() (d Data, err error) {
	d.Type = x.Type
	if d.Checksum, err = trusted(x.Checksum); err != nil && (d.Type == "primary" ||
		!errors.Is(err, digest.ErrWeak)) {
		return Data{}, fmt.Errorf("checksum: %w", err)
	}
	if d.OpenChecksum, err = trusted(x.OpenChecksum); err != nil &&
		!errors.Is(err, digest.ErrWeak) && len(x.OpenChecksum) > 0 {
		return Data{}, fmt.Errorf("open-checksum: %w", err)
	}
	if d.Base, d.Location, err = oneLocation(x.Location); err != nil {
		return Data{}, err
	}
	if d.Size, err = number(x.Size); err != nil {
		return Data{}, fmt.Errorf("size: %w", err)
	}
	if d.OpenSize, err = number(x.OpenSize); err != nil {
		return Data{}, fmt.Errorf("open-size: %w", err)
	}
	seconds, _, _ := strings.Cut(x.Timestamp, ".") // old tools wrote fractions
	if d.Timestamp, err = timestamp(seconds); err != nil {
		return Data{}, fmt.Errorf("timestamp: %w", err)
	}
	return d, nil
}

// trusted returns the first digest with a trusted algorithm.
func trusted(sums []xmlSum) (digest.Digest, error) {
	weak := fmt.Errorf("%w: missing", ErrMalformed)
	for _, s := range sums {
		d, err := digest.New(s.Type, s.Value)
		if err == nil {
			return d, nil
		}
		if !errors.Is(err, digest.ErrWeak) {
			return digest.Digest{}, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		weak = err
	}
	return digest.Digest{}, weak
}

// oneLocation checks that there is exactly one location, inside the repository or below the base
// that it names. A relative base becomes part of the path.
func oneLocation(locations []xmlHref) (base, location string, err error) {
	if len(locations) != 1 {
		return "", "", fmt.Errorf("%w: got %d locations, want one", ErrMalformed, len(locations))
	}
	base, location = locations[0].Base, locations[0].Href
	if err := checkLocation(location); err != nil {
		return "", "", err
	}
	if base == "" {
		return "", location, nil
	}
	if scheme, _, found := strings.Cut(base, ":/"); found && schemes[strings.ToLower(scheme)] {
		return base, location, checkBase(base)
	}
	if base = path.Clean(base); base == "." {
		return "", location, nil
	}
	location = base + "/" + location
	return "", location, checkLocation(location)
}

// schemes are the readable ones of a base.
var schemes = map[string]bool{"http": true, "https": true, "file": true}

// checkBase rejects a base whose meaning is not obvious.
func checkBase(base string) error {
	u, err := url.Parse(base)
	if err != nil || len(base) > maxLocation || u.User != nil || u.RawQuery != "" ||
		u.Fragment != "" ||
		strings.ContainsFunc(base, func(r rune) bool {
			return r <= ' ' || r == 0x7f || r == '\\'
		}) || slices.Contains(strings.Split(u.Path, "/"), "..") {
		return fmt.Errorf("xml:base %.200q: %w: it is not a plain URL", base, ErrLocation)
	}
	return nil
}

// number parses a size; "" is 0.
func number(s string) (int64, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%w: %.40q is not a size", ErrMalformed, s)
	}
	return int64(n), nil
}

// maxSeconds is the end of the year 9999; later times have no common form.
const maxSeconds = 253402300799

// timestamp parses seconds since 1970; "" and "0" are the zero time.
func timestamp(s string) (time.Time, error) {
	n, err := number(s)
	if err != nil || n > maxSeconds {
		return time.Time{}, fmt.Errorf("%w: %.40q is not a time", ErrMalformed, s)
	}
	if n == 0 {
		return time.Time{}, nil
	}
	return time.Unix(n, 0).UTC(), nil
}

// Primary returns the list of packages in the first supported compression; zchunk is not supported.
// Otherwise the error wraps [ErrNoPrimary] and lists what there is.
func (r *Repomd) Primary() (Data, error) {
	names := make([]string, 0, len(r.Data))
	for _, d := range r.Data {
		if d.Type == "primary" {
			if _, err := decompress.FromName(d.Location); err == nil {
				return d, nil
			}
		}
		names = append(names, fmt.Sprintf("%.40q (%.200s)", d.Type, d.Location))
	}
	if len(names) == 0 {
		return Data{}, fmt.Errorf("repomd.xml: %w, nor any other metadata", ErrNoPrimary)
	}
	return Data{}, fmt.Errorf("repomd.xml: %w, only %.1000s", ErrNoPrimary,
		strings.Join(names, ", "))
}

// noEOF turns io.EOF into an error where the input must not end.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
