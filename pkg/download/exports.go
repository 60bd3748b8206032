package download

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ExportsFormat is the version of the file that lists what the libraries of a build export.
const ExportsFormat = 1

// ExportList says what the shared libraries of a build export and what they need: enough to find out, without any of
// the libraries, whether a symbol is there for whoever is loaded beside them.
type ExportList struct {
	Format    int                        `json:"format"`
	Libraries map[string]ExportedLibrary `json:"libraries"` // by SONAME
}

// ExportedLibrary is one shared library of a build.
type ExportedLibrary struct {
	Path    string   `json:"path"`             // inside the package
	Needed  []string `json:"needed,omitempty"` // SONAMEs of the libraries that are loaded with it, DT_NEEDED, in order
	Symbols []string `json:"symbols"`          // "name@VERSION", or "name" if it has none; sorted, each once
}

// ParseExports reads an export list. It takes memory in proportion to data; nothing in it becomes part of a path.
func ParseExports(data []byte) (*ExportList, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var l ExportList
	if err := dec.Decode(&l); err != nil {
		return nil, fmt.Errorf("not a list of exports: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not a list of exports: something follows its end")
	}
	if l.Format != ExportsFormat {
		return nil, fmt.Errorf("format %d of the list of exports is not %d: made by another version of lpbuild", l.Format, ExportsFormat)
	}
	return &l, nil
}

// Bytes returns the list as it is written, the same for the same content.
func (l *ExportList) Bytes() ([]byte, error) { return json.Marshal(l) } // maps are written in the order of their keys
