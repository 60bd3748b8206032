package download

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/abi"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/rpmfile"
)

const (
	factsSuffix    = ".facts"
	maxReason      = 500 // bytes of an error in the lock
	maxSupplements = 16  // files that dwz made, in one package
)

// facts reads what the debuginfo of a library says about its types and functions. If that cannot be
// known, the lock says why.
func (x *extraction) facts(ctx context.Context, lib *Library, base string) error {
	file := x.debug[lib.Path]
	if file == "" {
		file = x.files[lib.Path] // may have debugging information itself
	}
	data, err := x.readFacts(file, lib.BuildID)
	if _, local := errors.AsType[*fs.PathError](err); local {
		return err
	}
	if err != nil {
		reason := strings.ToValidUTF8(err.Error(), "?")
		if len(reason) > maxReason {
			reason = strings.ToValidUTF8(reason[:maxReason], "")
		}
		lib.NoFacts = reason
		if !errors.Is(err, abi.ErrNone) { // of which debuginfo warned
			x.run.Progress.Warn("extract", fmt.Sprintf("%s: %s: types and inlined functions "+
				"cannot be checked: %v", x.build.NEVRA(), lib.Path, err))
		}
		return nil
	}
	d := digest.OfBytes(data)
	lib.Facts = &Facts{File: x.fileName(base, d, factsSuffix), Digest: d}
	_, err = x.run.Store.Put(ctx, d, bytes.NewReader(data), int64(len(data)))
	return err
}

func (x *extraction) readFacts(file, buildID string) ([]byte, error) {
	f, _, err := regularfile.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var opened []*os.File
	defer func() {
		for _, f := range opened {
			f.Close()
		}
	}()
	facts, err := abi.Read(f, abi.Options{BuildID: buildID,
		Alt: func(name, _ string) (io.ReaderAt, error) {
			alt := x.supplements[path.Base(name)]
			if alt == "" {
				return nil, fmt.Errorf("the debuginfo package does not have it: %w", fs.ErrNotExist)
			}
			f, _, err := regularfile.Open(alt)
			if err != nil {
				return nil, err
			}
			opened = append(opened, f)
			return f, nil
		}})
	if err != nil {
		return nil, err
	}
	return facts.Bytes()
}

// supplementaryFiles returns the files of a debuginfo package that dwz made for several others.
func supplementaryFiles(debug *rpmfile.RPM) []string {
	var names []string
	for _, f := range debug.Files() {
		if f.Mode.IsRegular() && path.Dir(f.Name) == "/usr/lib/debug/.dwz" &&
			len(names) < maxSupplements {
			names = append(names, f.Name)
		}
	}
	return names
}
