package rpmmd

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/rpmver"
)

// Package is an entry of primary.xml.
type Package struct {
	Name, Arch string
	EVR        rpmver.EVR
	Checksum   digest.Digest // of the RPM file
	// path inside the repository or below Base: relative, clean, without ".."
	Location  string
	Base      string    // http, https or file URL of another place; "" means the repository
	Size      int64     // of the RPM file, in bytes
	BuildTime time.Time // zero if not given, as FileTime
	FileTime  time.Time // when the file was added to the repository
	SourceRPM string    // file name of the source package; empty for source packages
	// "name", or "name op [epoch:]version[-release]" with one of < <= = >= >
	Provides []string
}

type xmlPackage struct {
	XMLName  xml.Name
	Name     []string     `xml:"http://linux.duke.edu/metadata/common name"`
	Arch     string       `xml:"http://linux.duke.edu/metadata/common arch"`
	Version  []xmlVersion `xml:"http://linux.duke.edu/metadata/common version"`
	Checksum []xmlSum     `xml:"http://linux.duke.edu/metadata/common checksum"`
	Location []xmlHref    `xml:"http://linux.duke.edu/metadata/common location"`
	Time     struct {
		File  string `xml:"file,attr"`
		Build string `xml:"build,attr"`
	} `xml:"http://linux.duke.edu/metadata/common time"`
	Size struct {
		Package string `xml:"package,attr"`
	} `xml:"http://linux.duke.edu/metadata/common size"`
	Format struct {
		SourceRPM string `xml:"http://linux.duke.edu/metadata/rpm sourcerpm"`
		Provides  struct {
			Entries []xmlEntry `xml:"http://linux.duke.edu/metadata/rpm entry"`
		} `xml:"http://linux.duke.edu/metadata/rpm provides"`
	} `xml:"http://linux.duke.edu/metadata/common format"`
}

type xmlVersion struct {
	Epoch   string `xml:"epoch,attr"`
	Version string `xml:"ver,attr"`
	Release string `xml:"rel,attr"`
}

type xmlEntry struct {
	xmlVersion
	Name  string `xml:"name,attr"`
	Flags string `xml:"flags,attr"`
}

// String returns the form that RPM prints, whatever the content.
func (v xmlVersion) String() string {
	s := v.Version
	if v.Epoch != "" && v.Epoch != "0" {
		s = v.Epoch + ":" + s
	}
	if v.Release != "" {
		s += "-" + v.Release
	}
	return s
}

// decodeElement decodes one element of a document whose root element begins with root, which may
// declare namespaces.
func decodeElement(root, element []byte) (*xmlPackage, error) {
	d := xml.NewDecoder(io.MultiReader(bytes.NewReader(root), bytes.NewReader(element)))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	var x xmlPackage
	if err := d.Decode(&x); err != nil {
		return nil, noEOF(err)
	}
	return &x, nil
}

// isPackage reports whether the element, named "package" in some namespace, is one of rpm-md's.
func (x *xmlPackage) isPackage() bool {
	return x.XMLName.Space == commonNS && x.XMLName.Local == "package"
}

// name returns the package's name if it has exactly one.
func (x *xmlPackage) name() (string, error) {
	if len(x.Name) != 1 || x.Name[0] == "" {
		return "", fmt.Errorf("%w: a package has %d names", ErrMalformed, len(x.Name))
	}
	return x.Name[0], nil
}

// convert checks a package and returns it.
func (x *xmlPackage) convert() (p Package, err error) {
	if p.Name, err = x.name(); err != nil {
		return Package{}, err
	}
	p.Arch, p.SourceRPM = x.Arch, strings.TrimSpace(x.Format.SourceRPM)
	for _, s := range []string{p.Name, p.Arch} {
		if !plain(s) {
			return Package{}, fmt.Errorf("%w: %.80q cannot be the name or architecture of a "+
				"package", ErrMalformed, s)
		}
	}
	if len(x.Version) != 1 {
		return Package{}, fmt.Errorf("%w: a package has %d versions", ErrMalformed, len(x.Version))
	}
	if p.EVR, err = rpmver.Parse(x.Version[0].String()); err != nil {
		return Package{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if p.Checksum, err = trusted(x.Checksum); err != nil {
		return Package{}, fmt.Errorf("checksum: %w", err)
	}
	if p.Base, p.Location, err = oneLocation(x.Location); err != nil {
		return Package{}, err
	}
	if p.Size, err = number(x.Size.Package); err != nil {
		return Package{}, fmt.Errorf("size: %w", err)
	}
	if p.BuildTime, err = timestamp(x.Time.Build); err != nil {
		return Package{}, fmt.Errorf("time: %w", err)
	}
	if p.FileTime, err = timestamp(x.Time.File); err != nil {
		return Package{}, fmt.Errorf("time: %w", err)
	}
	for _, e := range x.Format.Provides.Entries {
		p.Provides = append(p.Provides, e.String())
	}
	return p, nil
}

// String returns "name" or "name op version".
func (e xmlEntry) String() string {
	operators := map[string]string{"LT": "<", "LE": "<=", "EQ": "=", "GE": ">=", "GT": ">"}
	if op := operators[e.Flags]; op != "" {
		return e.Name + " " + op + " " + e.xmlVersion.String()
	}
	return e.Name
}

// plain reports whether s can be the name or the architecture of a package, and thus part of a file
// name.
func plain(s string) bool {
	odd := func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune("/\\:\"'`$&|;<>()*?[]", r)
	}
	return s != "" && len(s) <= 256 && s[0] != '.' && s[0] != '-' && !strings.ContainsFunc(s, odd)
}
