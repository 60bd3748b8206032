package rpmmd

import (
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"
)

const maxLocation = 1024

// checkLocation returns an error that wraps [ErrLocation] unless href is a clean relative path to
// something inside the repository, and remains the same when a server decodes it.
func checkLocation(href string) error {
	if err := checkPath(href); err != nil {
		return err
	}
	if !strings.Contains(href, "%") {
		return nil
	}
	decoded, err := url.PathUnescape(href)
	if err == nil && strings.Contains(decoded, "%") {
		err = fmt.Errorf("%w: it is escaped twice", ErrLocation)
	}
	if err == nil {
		err = checkPath(decoded)
	}
	if err != nil {
		return fmt.Errorf("location %.200q: %w", href, ErrLocation)
	}
	return nil
}

func checkPath(s string) error {
	first, _, _ := strings.Cut(s, "/")
	special := func(r rune) bool { return r < ' ' || r == 0x7f || strings.ContainsRune(`?#\`, r) }
	switch {
	case len(s) > maxLocation, s == ".", s != path.Clean(s), path.IsAbs(s), !filepath.IsLocal(s),
		strings.Contains(first, ":"), strings.ContainsFunc(s, special):
		return fmt.Errorf("location %.200q: %w", s, ErrLocation)
	}
	return nil
}
