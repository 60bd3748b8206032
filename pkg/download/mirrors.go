package download

import (
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/download/fetch"
)

// Bounds of a list of mirrors.
const (
	maxMirrorList = 1 << 20 // bytes
	maxMirrors    = 32      // mirrors that are tried
)

// place is one repository and the locations where it may be found.
type place struct {
	name    string           // the name in the lock: the location as configured, without secrets
	mirrors []fetch.Location // in the order in which the configuration names them
	// a list of further mirrors, for when none of these works; zero if there is none
	list fetch.Location
}

// eachMirror calls try for one mirror after another until one succeeds. Otherwise the error joins
// all failures.
func (r *run) eachMirror(ctx context.Context, p *place, s *Source,
	try func(fetch.Location) error) error {
	var errs []error
	all := func(mirrors []fetch.Location) bool {
		for _, at := range mirrors {
			err := try(at)
			if err == nil {
				return true
			}
			errs = append(errs, err)
			if ctx.Err() != nil {
				return true
			}
		}
		return false
	}
	if all(p.mirrors) {
		return stopped(ctx, errs)
	}
	if !p.list.IsZero() {
		mirrors, err := r.readMirrors(ctx, p.list, s)
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("mirror list: %w", err))...)
		}
		if all(mirrors) {
			return stopped(ctx, errs)
		}
	}
	return errors.Join(errs...)
}

// stopped returns nil after a success, or the errors so far if the run was cancelled.
func stopped(ctx context.Context, errs []error) error {
	if ctx.Err() != nil {
		return errors.Join(errs...)
	}
	return nil
}

// readMirrors returns the mirrors in a list, without those that the list must not lead to.
func (r *run) readMirrors(ctx context.Context, list fetch.Location,
	s *Source) ([]fetch.Location, error) {
	data, err := r.Client.Bytes(ctx, list, maxMirrorList)
	if err != nil {
		return nil, err
	}
	names, err := parseMirrors(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", list, err)
	}
	var mirrors []fetch.Location
	var refused []error
	for _, name := range names {
		at, err := fetch.ParseLocation(name, "")
		if err == nil {
			// Plain HTTP is enough where a signature vouches for the content.
			err = r.Client.MayLead(ctx, list, at, !s.Unsigned)
		}
		if err != nil {
			refused = append(refused, err)
			continue
		}
		if mirrors = append(mirrors, at); len(mirrors) == maxMirrors {
			break
		}
	}
	if len(mirrors) == 0 {
		return nil, errors.Join(fmt.Errorf("%s: it names no usable mirror", list),
			errors.Join(refused...))
	}
	return mirrors, nil
}

// xmlMetalink is a list of mirrors in one of two versions, that of
// https://www.rfc-editor.org/rfc/rfc5854 and the one before it.
type xmlMetalink struct {
	XMLName xml.Name
	New     []xmlMirrored `xml:"file"`
	Old     []xmlMirrored `xml:"files>file"`
}

type xmlMirrored struct {
	Name string      `xml:"name,attr"`
	New  []xmlMirror `xml:"url"`
	Old  []xmlMirror `xml:"resources>url"`
}

type xmlMirror struct {
	Preference int    `xml:"preference,attr"` // highest first
	Priority   int    `xml:"priority,attr"`   // lowest first
	URL        string `xml:",chardata"`
}

// parseMirrors reads a list with one URL on each line, or a metalink file for repomd.xml.
func parseMirrors(data []byte) ([]string, error) {
	var urls []string
	if !bytes.HasPrefix(bytes.TrimSpace(data), []byte("<")) {
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				urls = append(urls, line)
			}
		}
		return onlyHTTP(urls), nil
	}
	var x xmlMetalink
	if err := xml.Unmarshal(data, &x); err != nil || x.XMLName.Local != "metalink" {
		return nil, errors.Join(errors.New("neither a list of URLs nor a metalink file"), err)
	}
	for _, f := range append(x.New, x.Old...) {
		if f.Name != "repomd.xml" {
			continue
		}
		mirrors := append(f.New, f.Old...)
		slices.SortStableFunc(mirrors, func(a, b xmlMirror) int {
			return cmp.Or(b.Preference-a.Preference, a.Priority-b.Priority)
		})
		for _, m := range mirrors {
			if u, ok := strings.CutSuffix(strings.TrimSpace(m.URL), "repodata/repomd.xml"); ok {
				urls = append(urls, strings.TrimRight(u, "/"))
			}
		}
	}
	return onlyHTTP(urls), nil
}

// onlyHTTP drops URLs that only other programs can use, such as those of rsync.
func onlyHTTP(urls []string) []string {
	return slices.DeleteFunc(urls, func(u string) bool {
		scheme, _, _ := strings.Cut(u, ":")
		return !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https")
	})
}
