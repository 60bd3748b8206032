package spec

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/ulikunitz/xz"

	"github.com/lpbuild/lpbuild/internal/regularfile"
)

// sourceArchive is a source archive to write: files below one top directory.
type sourceArchive struct {
	Top   string            // name of the directory that it unpacks to
	Files map[string]string // name below Top, with slashes → file on disk
	Time  time.Time         // of every entry, to the second
}

// maxSource bounds one file of the archive, in bytes.
const maxSource = 1 << 30

// Write writes the archive, compressed. The same files give the same bytes: entries are sorted and
// belong to root, all have the same time and mode (nothing needs to be executable), and the
// compressor has no options.
func (a *sourceArchive) Write(w io.Writer) error {
	z, err := xz.WriterConfig{DictCap: 8 << 20}.NewWriter(w)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	for _, name := range a.entries() {
		if err := a.add(t, name); err != nil {
			return fmt.Errorf("source archive: %w", err)
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	return z.Close()
}

// entries returns the names of all files and of their directories, sorted; directories end in a
// slash.
func (a *sourceArchive) entries() []string {
	set := map[string]bool{a.Top + "/": true}
	for name := range a.Files {
		full := path.Join(a.Top, name)
		set[full] = true
		for dir := path.Dir(full); dir != "."; dir = path.Dir(dir) {
			set[dir+"/"] = true
		}
	}
	names := make([]string, 0, len(set))
	for name := range set {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (a *sourceArchive) add(t *tar.Writer, name string) error {
	h := &tar.Header{
		Name: name, Mode: 0o644, Uname: "root", Gname: "root",
		ModTime: a.Time.UTC().Truncate(time.Second), Format: tar.FormatGNU,
	}
	if name[len(name)-1] == '/' {
		h.Typeflag, h.Mode = tar.TypeDir, 0o755
		return t.WriteHeader(h)
	}
	rel, err := filepath.Rel(a.Top, name)
	if err != nil {
		return err
	}
	f, _, err := regularfile.Open(a.Files[filepath.ToSlash(rel)])
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSource {
		return &fs.PathError{Op: "archive", Path: f.Name(), Err: fs.ErrInvalid}
	}
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}
