package buildmatrix

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/compile"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// ErrStale means that the build directory does not have what the report, the configuration and the
// lock say.
var ErrStale = errors.New("it is not what lpbuild build made")

// Verify compares the build directory with its report, and the report with configuration and lock,
// for some architectures (nil: all) and the builds that the report is about: every cell has a
// container, and it is, byte for byte, the one that was gated. Nothing is written and no compiler
// runs. The error joins everything that is wrong.
func Verify(ctx context.Context, c *config.Config, l *download.Lock,
	only []symtab.Arch) (*Report, error) {
	dir := filepath.Join(c.Dir, config.BuildDir)
	r, err := ReadReport(dir)
	if err != nil {
		return nil, fmt.Errorf("nothing to check: %w: run lpbuild build first", err)
	}
	if r.Name != c.Name || r.Version != c.Version {
		return nil, fmt.Errorf("%s: %w: the report is of %s %s", c.Path, ErrStale, r.Name,
			r.Version)
	}
	asked := func(arch symtab.Arch) bool { return len(only) == 0 || slices.Contains(only, arch) }
	r.Cells = slices.DeleteFunc(r.Cells, func(c CellInfo) bool {
		return !asked(symtab.Arch(c.Arch))
	})
	var errs []error
	built := map[[6]string]bool{}
	for _, cell := range r.Cells {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		if cell.Status != Built {
			errs = append(errs, fmt.Errorf("%s for %s is %s", cell.Patch, cell.Build(),
				cell.Status))
			continue
		}
		built[[6]string{cell.Patch, cell.Arch, cell.Package, cell.Version, cell.Release,
			cell.Target}] = true
		if err := verifyContainer(filepath.Join(dir, cell.Arch, cell.Container), cell); err != nil {
			errs = append(errs, err)
		}
	}
	var group Group
	if r.Group != "" {
		if group, err = ParseGroup(r.Group); err != nil {
			return nil, fmt.Errorf("%s: the report: %w", c.Path, err)
		}
	}
	for _, want := range group.Cells(Cells(c, l)) {
		b := want.Build
		key := [6]string{want.Patch.Description, string(want.Arch), b.Name, b.Version, b.Release,
			want.Library.BuildID}
		if asked(want.Arch) && !built[key] {
			errs = append(errs, fmt.Errorf("%w: %s for %s has no container", ErrStale, key[0],
				b.NEVRA()))
		}
	}
	return r, errors.Join(errs...)
}

// readMade reads a container, and wants it to be the one that the report has.
func readMade(name string, cell CellInfo) ([]byte, error) {
	image, err := regularfile.Read(name, compile.MaxObject)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w: it is gone: run lpbuild build", name, ErrStale)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrStale, err)
	case digest.OfBytes(image) != cell.Digest:
		return nil, fmt.Errorf("%s: %w: %w: run lpbuild build", name, ErrStale, digest.ErrMismatch)
	}
	return image, nil
}

// verifyContainer compares a file with its cell.
func verifyContainer(name string, cell CellInfo) error {
	image, err := readMade(name, cell)
	if err != nil {
		return err
	}
	file, err := ulp.ParseContainer(image)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	p, err := file.LivePatch()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if got := hex.EncodeToString(p.Metadata.Target.BuildID); got != cell.Target {
		return fmt.Errorf("%s: %w: it is for the build %s, the report says %s", name, ErrStale, got,
			cell.Target)
	}
	return nil
}
