package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lpbuild/lpbuild/internal/atomicfile"
	"github.com/lpbuild/lpbuild/internal/regularfile"
)

// linkerConf lists the folders with libraries of a snapshot; the system's file includes it by includeLine.
const (
	linkerConf  = "var/livepatches/ld.so.conf"
	systemConf  = "etc/ld.so.conf"
	includeLine = "include /" + linkerConf
	maxConf     = 1 << 20 // bytes of either
)

// tellLinker writes which folders have libraries, and makes the running system's dynamic linker look there.
func (r *Request) tellLinker(ctx context.Context) error {
	folders, err := r.foreignFolders()
	if err != nil {
		return err
	}
	base := r.hostPath(sharedDir)
	for _, pkg := range names(base) {
		if _, ok := r.next(pkg); !ok {
			continue
		}
		for _, version := range names(filepath.Join(base, pkg)) {
			dir := filepath.Join(base, pkg, version, libsLeaf)
			if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 && ownBelow(base, pkg, version, libsLeaf) == nil {
				folders = append(folders, "/"+filepath.Join(sharedDir, pkg, version, libsLeaf)+"\n")
			}
		}
	}
	slices.Sort(folders)
	folders = slices.Compact(folders)
	if err := r.include(len(folders) > 0); err != nil {
		return err
	}
	if len(folders) == 0 {
		if err := os.Remove(r.hostPath(linkerConf)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	} else if err := atomicfile.Write(r.hostPath(linkerConf), []byte(strings.Join(folders, "")), 0o644); err != nil {
		return err
	}
	return r.ldconfig(ctx)
}

// foreignFolders returns the lines of our list that somebody else has written: folders that are there and that are not ours.
func (r *Request) foreignFolders() ([]string, error) {
	name := r.hostPath(linkerConf)
	text, err := readOwn(name, maxConf)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		folder := strings.TrimSpace(line)
		pkg, rest, _ := strings.Cut(strings.TrimPrefix(folder, "/"+sharedDir+"/"), "/")
		if _, err := os.Lstat(r.hostPath(folder)); err != nil || !filepath.IsAbs(folder) {
			continue
		}
		if _, ours := r.next(pkg); !ours || filepath.Base(rest) != libsLeaf {
			lines = append(lines, folder+"\n")
		}
	}
	return lines, nil
}

// include puts the line that includes our list at the beginning of the system's file, or takes it away.
func (r *Request) include(wanted bool) error {
	name := r.hostPath(systemConf)
	if err := own(name, false); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	info, err := os.Stat(name)
	if err == nil && info.Size() > maxConf {
		return fmt.Errorf("%s is too large to be what it should be: it is left alone", name)
	}
	text, err := regularfile.Read(name, maxConf)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var lines []byte
	for line := range bytes.Lines(text) {
		if string(bytes.TrimSpace(line)) != includeLine {
			lines = append(lines, line...)
		}
	}
	if wanted {
		lines = append([]byte(includeLine+"\n"), lines...)
	}
	if bytes.Equal(lines, text) {
		return nil
	}
	return atomicfile.Write(name, lines, 0o644)
}

// ldconfig makes the cache of the running system's dynamic linker anew.
func (r *Request) ldconfig(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.Deadline)
	defer cancel()
	args := []string{}
	if r.host != "/" {
		args = append(args, "-r", r.host)
	}
	cmd := exec.CommandContext(ctx, "/sbin/ldconfig", args...)
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ldconfig: %w: %.200s", err, out)
	}
	return nil
}
