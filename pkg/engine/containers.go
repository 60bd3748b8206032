package engine

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/engine/libpulp"
	"github.com/lpbuild/lpbuild/pkg/engine/native"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// Bounds of what is read: containers are some hundred KiB, and a package has some hundred of them.
const (
	maxContainer  = 64 << 20 // bytes of a container
	maxContainers = 1 << 16
	readers       = 4 // containers that are read at the same time
)

// Container is one file with a live patch in it.
type Container struct {
	File  string // as it was named
	Path  string // absolute and without symbolic links: what a process is told
	Patch *ulp.LivePatch

	pulp    *libpulp.Patch // for the libpulp engine, which may have a reason not to take it
	pulpErr error
	// the same for the native engine, made when it is first asked for
	native func() (*native.Patch, error)
}

// Target returns the library that the container is for.
func (c *Container) Target() ulp.Target { return c.Patch.Metadata.Target }

// Containers are the live patches of one run, in the order in which they are applied. They do not
// change.
type Containers struct {
	List []*Container
	Bad  []*FileError // files that cannot be used, in order

	byBuildID map[string][]*Container // by the target's build-id
	names     map[string]bool         // base names of targets
}

// Place is a file, and where processes see it.
type Place struct {
	File string
	Path string // absolute; "" if it is the file's own
}

// ReadContainers reads and checks files. Those that are no live patches, or with reverse set lack
// what reverting needs, are in Bad. The error is the context's, or one that concerns all files.
func ReadContainers(ctx context.Context, files []string, reverse bool) (*Containers, error) {
	places := make([]Place, len(files))
	for i, file := range files {
		places[i].File = file
	}
	return ReadPlaces(ctx, places, reverse)
}

// ReadPlaces is [ReadContainers] for files that processes see elsewhere: they have another root
// directory.
func ReadPlaces(ctx context.Context, files []Place, reverse bool) (*Containers, error) {
	if len(files) > maxContainers {
		return nil, fmt.Errorf("%d files are more than the %d that one run takes", len(files),
			maxContainers)
	}
	list := make([]*Container, len(files))
	errs := make([]error, len(files))
	var g errgroup.Group
	g.SetLimit(readers)
	for i, file := range files {
		if err := context.Cause(ctx); err != nil {
			_ = g.Wait() // it only returns nil
			return nil, err
		}
		g.Go(func() error {
			list[i], errs[i] = readContainer(file, reverse)
			return nil
		})
	}
	_ = g.Wait() // as above
	cs := &Containers{}
	cs.init()
	for i, c := range list {
		if errs[i] != nil {
			cs.Bad = append(cs.Bad, &FileError{files[i].File, errs[i]})
			continue
		}
		cs.add(c)
	}
	return cs, nil
}

func (cs *Containers) init() {
	cs.byBuildID, cs.names = map[string][]*Container{}, map[string]bool{}
}

// add takes a container in, unless the same live patch is there already, perhaps by a link.
func (cs *Containers) add(c *Container) {
	t := c.Target()
	for _, other := range cs.byBuildID[string(t.BuildID)] {
		if other.Patch.Metadata.PatchID == c.Patch.Metadata.PatchID {
			return
		}
	}
	cs.List = append(cs.List, c)
	cs.byBuildID[string(t.BuildID)] = append(cs.byBuildID[string(t.BuildID)], c)
	cs.names[t.Name] = true
}

// Len returns how many files there are, bad ones included.
func (cs *Containers) Len() int {
	if cs == nil {
		return 0
	}
	return len(cs.List) + len(cs.Bad)
}

// match returns the containers for a process's libraries, in order, and whether the process has a
// target's library of another build. A library counts by the build-id in its memory and by its
// name, which is how engines find it again.
func (cs *Containers) match(libraries []*rtld.Library) (fit []*Container, otherBuild bool) {
	for _, l := range libraries {
		for _, c := range cs.byBuildID[string(l.BuildID)] {
			if named(l, c.Target().Name) {
				fit = append(fit, c)
			}
		}
		otherBuild = otherBuild || cs.names[l.Name] || cs.names[l.SONAME]
	}
	if len(fit) > 1 {
		fit = inOrder(cs.List, fit)
	}
	return fit, otherBuild
}

func inOrder(all, some []*Container) []*Container {
	in := make(map[*Container]bool, len(some))
	for _, c := range some {
		in[c] = true
	}
	sorted := make([]*Container, 0, len(in))
	for _, c := range all {
		if in[c] {
			sorted = append(sorted, c)
		}
	}
	return sorted
}

// named reports whether a library has a base name: that of its file, or its SONAME, since the
// file's name may have the version after it.
func named(l *rtld.Library, name string) bool {
	return name != "" && (l.Name == name || l.SONAME == name)
}

// notFor returns why a container is not for a process.
func notFor(c *Container, libraries []*rtld.Library) error {
	t := c.Target()
	for _, l := range libraries {
		if named(l, t.Name) && !bytes.Equal(l.BuildID, t.BuildID) {
			return &BuildError{Library: t.Name, Has: l.BuildID, Want: t.BuildID}
		}
	}
	return ErrNotLoaded
}

// BuildError is an ErrBuildID with the builds.
type BuildError struct {
	Library string
	// build-ids: the process's, nil if unknown, and the one that the container is for
	Has, Want []byte
}

// Error says which build is there.
func (e *BuildError) Error() string {
	has := "no build-id"
	if len(e.Has) > 0 {
		has = "build " + hex.EncodeToString(e.Has)
	}
	return fmt.Sprintf("%v: %s has %s, the container is for %x", ErrBuildID, e.Library, has, e.Want)
}

// Is makes every BuildError an ErrBuildID.
func (e *BuildError) Is(target error) bool { return target == ErrBuildID }

func readContainer(place Place, reverse bool) (*Container, error) {
	data, info, err := readRegular(place.File)
	if err != nil {
		return nil, err
	}
	image, err := ulp.ParseContainer(data)
	if err != nil {
		return nil, err
	}
	p, err := image.LivePatch()
	switch {
	case err != nil:
		return nil, err
	case reverse && p.Reverse == nil:
		return nil, fmt.Errorf("%w: no section %s", ulp.ErrNotPacked, ulp.SectionReverse)
	case reverse && p.Reverse.PatchID != p.Metadata.PatchID:
		return nil, fmt.Errorf("section %s is of another live patch", ulp.SectionReverse)
	}
	for _, f := range p.Metadata.Functions {
		if _, ok := image.Lookup(f.New); !ok {
			return nil, fmt.Errorf("%w: %s, which is to replace %s", ulp.ErrNoSymbol, f.New, f.Old)
		}
	}
	path := place.Path
	if path == "" {
		if path, err = filepath.Abs(place.File); err == nil {
			path, err = filepath.EvalSymlinks(path)
		}
		if err != nil {
			return nil, err
		}
	}
	image.Name = filepath.Base(path)
	c := &Container{File: place.File, Path: path, Patch: p}
	c.pulp, c.pulpErr = libpulp.NewPatch(image)
	c.native = sync.OnceValues(func() (*native.Patch, error) {
		p, err := native.NewPatch(image, image.Name)
		if err == nil {
			p.File = native.NewFile(path, info)
		}
		return p, err
	})
	return c, nil
}

// readRegular reads a regular file of bounded size, and returns what fstat(2) tells of it. It does
// not wait for the other end of a FIFO.
func readRegular(path string) ([]byte, os.FileInfo, error) {
	f, info, err := regularfile.Open(path)
	if errors.Is(err, regularfile.ErrIrregular) {
		return nil, nil, errors.New("not a regular file")
	}
	if err != nil {
		return nil, nil, pathReason(err)
	}
	defer f.Close()
	if info.Size() > maxContainer {
		return nil, nil, fmt.Errorf("larger than %d MiB", maxContainer>>20)
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, nil, pathReason(err)
	}
	return data, info, nil
}

// pathReason takes the path off an error, for messages that name the file anyway.
func pathReason(err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err
	}
	return err
}
