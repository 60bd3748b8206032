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

// ExportList lists what the shared libraries of a build export and need: enough to decide, without
// the libraries, whether a symbol is available to code that is loaded beside them.
type ExportList struct {
	Format    int                        `json:"format"`
	Libraries map[string]ExportedLibrary `json:"libraries"` // by SONAME
}

// ExportedLibrary is one shared library of a build.
type ExportedLibrary struct {
	Path string `json:"path"` // inside the package
	// SONAMEs of the libraries that are loaded with it, DT_NEEDED, in order
	Needed []string `json:"needed,omitempty"`
	// "name@VERSION", or "name" if it has none; sorted, each once
	Symbols []string `json:"symbols"`
}

// ParseExports reads an export list. Its memory use is proportional to the size of data, and
// nothing in the list becomes part of a path.
func ParseExports(data []byte) (*ExportList, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var l ExportList
	if err := dec.Decode(&l); err != nil {
		return nil, fmt.Errorf("not an export list: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not an export list: data follow its end")
	}
	if l.Format != ExportsFormat {
		return nil, fmt.Errorf("the export list has format %d, not %d: another version of "+
			"lpbuild made it", l.Format, ExportsFormat)
	}
	return &l, nil
}

// Bytes returns the encoded list, which is the same for the same content.
// encoding/json sorts the keys of maps
func (l *ExportList) Bytes() ([]byte, error) { return json.Marshal(l) }
