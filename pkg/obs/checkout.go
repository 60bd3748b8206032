package obs

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/lpbuild/lpbuild/internal/regularfile"
)

// ErrNoCheckout means that a directory is not a package checked out by osc or git.
var ErrNoCheckout = errors.New("not a checkout of a package")

// maxState bounds a file of osc's bookkeeping, in bytes.
const maxState = 4 << 20

// Checkout is a package's directory as osc or git checks it out.
type Checkout struct {
	Dir              string
	Git              bool   // the package is managed in git
	Project, Package string // Project is "" in git
	// file names that the service has, or will have after the next commit
	tracked map[string]bool
}

// Open reads osc's or git's state of a checkout.
func Open(ctx context.Context, dir string) (*Checkout, error) {
	if _, err := os.Stat(filepath.Join(dir, ".osc")); errors.Is(err, os.ErrNotExist) {
		if is, err := isGit(dir); is || err != nil {
			if err != nil {
				return nil, err
			}
			return openGit(ctx, dir)
		}
	}
	c := &Checkout{Dir: dir, tracked: map[string]bool{}}
	for name, to := range map[string]*string{"_project": &c.Project, "_package": &c.Package} {
		text, err := readState(dir, name)
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w: it has neither .osc/%s nor .git: make one with: osc "+
				"checkout PROJECT PACKAGE, or git clone", dir, ErrNoCheckout, name)
		}
		if err != nil {
			return nil, err
		}
		if *to = strings.TrimSpace(string(text)); !isWord(*to) {
			return nil, fmt.Errorf("%s: %w: .osc/%s contains %.80q", dir, ErrNoCheckout, name, *to)
		}
	}
	text, err := readState(dir, "_files")
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", dir, ErrNoCheckout, err)
	}
	names, err := parseFiles(text)
	if err != nil {
		return nil, fmt.Errorf("%s: .osc/_files: %w", dir, err)
	}
	for _, name := range names {
		c.tracked[name] = true
	}
	for state, tracked := range map[string]bool{"_to_be_added": true, "_to_be_deleted": false} {
		text, err := readState(dir, state)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		for name := range strings.Lines(string(text)) {
			c.tracked[strings.TrimSpace(name)] = tracked
		}
	}
	return c, nil
}

// isWord reports whether osc takes the name of a project, package or file as such, and not as an
// option or a path.
func isWord(s string) bool {
	return s != "" && len(s) <= 255 && s != "." && s != ".." && s[0] != '-' &&
		!strings.ContainsFunc(s, func(r rune) bool {
			return r == '/' || unicode.IsSpace(r) || !unicode.IsPrint(r)
		})
}

func readState(dir, name string) ([]byte, error) {
	return regularfile.Read(filepath.Join(dir, ".osc", name), maxState)
}

// parseFiles parses the service's list of a package's files.
func parseFiles(text []byte) ([]string, error) {
	var list struct {
		XMLName xml.Name `xml:"directory"`
		Entries []struct {
			Name string `xml:"name,attr"`
		} `xml:"entry"`
	}
	if err := xml.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	var names []string
	for _, e := range list.Entries {
		if !isWord(e.Name) {
			return nil, fmt.Errorf("%.80q is not a file name", e.Name)
		}
		names = append(names, e.Name)
	}
	return names, nil
}
