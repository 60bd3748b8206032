package buildmatrix

import (
	"fmt"
	"sync"

	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/gate"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// maxCatalogue bounds a catalogue file, in bytes: one for libc.so.6 with all its static functions
// has about 1 MB.
const maxCatalogue = 256 << 20

// readPinned reads a file of the catalogue and checks that it is the one that the lock pins.
func (m *matrix) readPinned(name string, pinned digest.Digest) ([]byte, error) {
	path := m.config.File(name)
	data, err := regularfile.Read(path, maxCatalogue)
	if err != nil {
		return nil, fmt.Errorf("the catalogue is not complete: %w: run lpbuild download", err)
	}
	if digest.OfBytes(data) != pinned {
		return nil, fmt.Errorf("%s: %w: it is not what %s pins: run lpbuild download", path,
			digest.ErrMismatch, config.LockName)
	}
	return data, nil
}

// library returns what is known of a library. Each catalogue is read once, and known by its
// content: names repeat.
func (m *matrix) library(l *download.Library) (*symtab.Library, error) {
	return once(m, m.libraries, l.Pinned.String(), func() (*symtab.Library, error) {
		data, err := m.readPinned(l.Catalogue, l.Pinned)
		if err != nil {
			return nil, err
		}
		lib, err := symtab.ParseCatalogue(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.config.File(l.Catalogue), err)
		}
		return lib, nil
	})
}

// buildExports returns what the libraries of a build export; each list is read once.
func (m *matrix) buildExports(b *download.Build) (gate.Exports, error) {
	if b.Exports == nil {
		return gate.Exports{}, nil
	}
	return once(m, m.exports, b.Exports.Digest.String(), func() (gate.Exports, error) {
		data, err := m.readPinned(b.Exports.File, b.Exports.Digest)
		if err != nil {
			return nil, err
		}
		list, err := download.ParseExports(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.config.File(b.Exports.File), err)
		}
		return gate.NewExports(list), nil
	})
}

// once returns what read gives, calling it once per key even if many ask at the same time.
func once[T any](m *matrix, known map[string]func() (T, error), key string,
	read func() (T, error)) (T, error) {
	m.mu.Lock()
	get, ok := known[key]
	if !ok {
		get = sync.OnceValues(read)
		known[key] = get
	}
	m.mu.Unlock()
	return get()
}

// others returns the builds of other packages of the lock, for the same architecture: one of each
// will be installed beside the cell's build, and it is not known which.
func (m *matrix) others(j *job) []*download.Build {
	var list []*download.Build
	for i := range m.lock.Builds {
		if b := &m.lock.Builds[i]; b.Name != j.Build.Name && b.Arch == j.Build.Arch {
			list = append(list, b)
		}
	}
	return list
}

// othersKey changes when any of the others does.
func (m *matrix) othersKey(j *job) string {
	var parts []string
	for _, b := range m.others(j) {
		if b.Exports != nil {
			parts = append(parts, b.Exports.Digest.Hex)
		}
	}
	return digest.OfStrings(parts...)
}

// scope returns where the cell's container finds what it needs.
func (m *matrix) scope(j *job) (*gate.Scope, error) {
	lib, err := m.library(j.Library)
	if err != nil {
		return nil, err
	}
	own, err := m.buildExports(j.Build)
	if err != nil {
		return nil, err
	}
	var others []gate.Exports
	for _, b := range m.others(j) {
		e, err := m.buildExports(b)
		if err != nil {
			return nil, err
		}
		others = append(others, e)
	}
	return gate.NewScope(j.object.Container.Needed, lib, own, others), nil
}
