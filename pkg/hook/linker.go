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

// linkerConf lists the directories with a snapshot's libraries; the system's file includes it by
// includeLine.
const (
	linkerConf  = "var/livepatches/ld.so.conf"
	systemConf  = "etc/ld.so.conf"
	includeLine = "include /" + linkerConf
	maxConf     = 1 << 20 // bytes of either
)

// tellLinker lists the directories with libraries, and makes the running system's dynamic linker
// search them.
func (r *Request) tellLinker(ctx context.Context) error {
	dirs, err := r.foreignDirs()
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
			if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 &&
				ownBelow(base, pkg, version, libsLeaf) == nil {
				dirs = append(dirs, "/"+filepath.Join(sharedDir, pkg, version, libsLeaf)+"\n")
			}
		}
	}
	slices.Sort(dirs)
	dirs = slices.Compact(dirs)
	if err := r.include(len(dirs) > 0); err != nil {
		return err
	}
	if len(dirs) == 0 {
		if err := os.Remove(r.hostPath(linkerConf)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	} else if err := atomicfile.Write(r.hostPath(linkerConf), []byte(strings.Join(dirs, "")),
		0o644); err != nil {
		return err
	}
	return r.ldconfig(ctx)
}

// foreignDirs returns the lines of our list that somebody else has written: existing directories
// that are not ours.
func (r *Request) foreignDirs() ([]string, error) {
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
		dir := strings.TrimSpace(line)
		pkg, rest, _ := strings.Cut(strings.TrimPrefix(dir, "/"+sharedDir+"/"), "/")
		if _, err := os.Lstat(r.hostPath(dir)); err != nil || !filepath.IsAbs(dir) {
			continue
		}
		if _, ours := r.next(pkg); !ours || filepath.Base(rest) != libsLeaf {
			lines = append(lines, dir+"\n")
		}
	}
	return lines, nil
}

// include puts the line that includes our list at the start of the system's file, or removes it.
func (r *Request) include(wanted bool) error {
	name := r.hostPath(systemConf)
	if err := own(name, false); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	info, err := os.Stat(name)
	if err == nil && info.Size() > maxConf {
		return fmt.Errorf("%s is implausibly large: it is left alone", name)
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

// ldconfig rebuilds the cache of the running system's dynamic linker.
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
