package scaffold

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
)

// maxKey bounds a key file, in bytes.
const maxKey = 4 << 20

// readKey reads a file with keys that can verify signatures, and without secret ones, since the
// file will be published.
func readKey(name string) ([]byte, error) {
	data, err := regularfile.Read(name, maxKey)
	switch {
	case errors.Is(err, regularfile.ErrIrregular), errors.Is(err, regularfile.ErrTooLarge):
		return nil, fmt.Errorf("key file %s: not a regular file, or too large for a key file", name)
	case err != nil:
		return nil, fmt.Errorf("key file: %w", err)
	}
	if _, err := pgp.ReadKeys(data); err != nil {
		return nil, fmt.Errorf("key file %s: %w: export the vendor's public key with: gpg "+
			"--armor --export KEYID", name, err)
	}
	return data, nil
}

// rehearse reads the new files as the other commands will, in a temporary directory, and rejects
// what they would reject.
func rehearse(dir string, files []file) error {
	stage, err := os.MkdirTemp("", "lpbuild-init-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(stage)
	if err := writeAll(stage, files); err != nil {
		return err
	}
	c, err := config.Load(stage)
	if err == nil {
		_, err = c.Request(time.Now()) // reads the keys and the locations
	}
	if err == nil {
		return nil
	}
	var findings diag.List
	if !errors.As(err, &findings) {
		return fmt.Errorf("nothing was written: %w", hidden{err, stage, dir})
	}
	for _, f := range findings { // the directory in which they were found is gone
		f.File = filepath.Join(dir, filepath.Base(f.File))
		f.Message = strings.ReplaceAll(f.Message, stage, dir)
		f.Hint = cmp.Or(f.Hint, "nothing was written: correct what "+f.File+" would say")
	}
	return findings
}

// hidden replaces the directory in the text of an error.
type hidden struct {
	err      error
	from, to string
}

func (h hidden) Error() string { return strings.ReplaceAll(h.err.Error(), h.from, h.to) }
func (h hidden) Unwrap() error { return h.err }
