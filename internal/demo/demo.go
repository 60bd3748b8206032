// Package demo shows the main job on a machine that has nothing: it makes a small distributor in a
// directory, with a signed repository of real RPMs, and walks the way from there to a live patch
// package with the program's own commands. In the end it patches malloc in a running program that
// uses the machine's own C library.
//
// The library in those RPMs is a small stand-in for glibc, compiled for live patching; everything
// that is done with it is what is done with the real one.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/lpbuild/lpbuild/internal/distro"
	"github.com/lpbuild/lpbuild/internal/shellword"
	"github.com/lpbuild/lpbuild/pkg/diag"
)

// Options says where and how.
type Options struct {
	Dir    string    // made anew: a former demonstration in it is removed
	Binary string    // this program
	Builds int       // released builds of the library; 0: 5
	Out    io.Writer // the transcript
}

// marker is a file that says that a directory may be removed: a demonstration made it.
const marker = ".lpbuild-demo"

// packageName is the live patch package that the demonstration makes.
const packageName = "glibc-livepatches"

// Run runs the demonstration.
func Run(ctx context.Context, o Options) error {
	d := &demonstration{Options: o, started: time.Now()}
	for _, step := range []func(context.Context) error{d.prepare, d.repository, d.pack, d.rpm,
		d.show, d.live, d.end} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

type demonstration struct {
	Options
	started time.Time
	dir     string // absolute
}

func (d *demonstration) say(format string, args ...any) { fmt.Fprintf(d.Out, format+"\n", args...) }

// prepare makes an empty directory. Only one that a demonstration made is removed.
func (d *demonstration) prepare(context.Context) error {
	var err error
	if d.dir, err = filepath.Abs(d.Dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(d.dir)
	if err == nil && len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(d.dir, marker)); err != nil {
			return fmt.Errorf("%s is not empty and not of a former demonstration: name another "+
				"directory with --dir", d.dir)
		}
		if err := os.RemoveAll(d.dir); err != nil {
			return err
		}
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Join(d.dir, "bin"), 0o755); err != nil {
		return err
	}
	if err := os.Symlink(d.Binary, filepath.Join(d.dir, "bin", "lpbuild")); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.dir, marker), nil, 0o644)
}

func (d *demonstration) repository(ctx context.Context) error {
	builds := d.Builds
	if builds == 0 {
		builds = 5
	}
	key := distro.KeyOptions{V3Signatures: true}
	how := "as SUSE signs them\n# (OpenPGP version 3 signatures)"
	if _, err := exec.LookPath("gpg1"); err != nil { // not every distribution has it
		key, how = distro.KeyOptions{}, "with gpg\n# (version 4 signatures: there is no gpg1 "+
			"here to make them as SUSE does)"
	}
	d.say("# A small distributor: %d released builds of a stand-in for glibc, RPMs and metadata "+
		"signed %s, in %s/repository", builds, how, d.dir)
	_, err := distro.StandardRepository(ctx, filepath.Join(d.dir, "repository"),
		distro.StandardOptions{
			Builds: builds, KeyOptions: key, Compression: "zst",
		})
	return err
}

// pack goes the engineer's way, over HTTP on loopback.
func (d *demonstration) pack(ctx context.Context) error {
	server, err := distro.Serve(filepath.Join(d.dir, "repository"))
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	directory := filepath.Join(d.dir, packageName)
	steps := [][]string{
		{"init", directory, "--product", "DEMO", "--key",
			filepath.Join(d.dir, "repository", "key.asc"), "--repository", server.URL + "/update",
			"--debuginfo", server.URL + "/update_debug"},
		{"-C", directory, "download"},
		{"-C", directory, "build"},
		{"-C", directory, "dist"},
	}
	for _, args := range steps {
		if err := d.command(ctx, d.dir, "lpbuild", args...); err != nil {
			return err
		}
	}
	return nil
}

// rpm builds the source package as the distributor does: without a network.
func (d *demonstration) rpm(ctx context.Context) error {
	dist := filepath.Join(d.dir, packageName, "dist")
	return d.command(ctx, d.dir, "rpmbuild", "-ba", "--quiet", "--nodeps", "--define",
		"_topdir "+filepath.Join(d.dir, "rpmbuild"), "--define", "_sourcedir "+dist,
		filepath.Join(dist, packageName+".spec"))
}

func (d *demonstration) show(ctx context.Context) error {
	rpms, err := filepath.Glob(filepath.Join(d.dir, "rpmbuild", "RPMS", "*", "*.rpm"))
	if err != nil || len(rpms) == 0 {
		return errors.Join(err, errors.New("rpmbuild made no package"))
	}
	if err := d.command(ctx, d.dir, "rpm", "-qp", "--provides", rpms[0]); err != nil {
		return err
	}
	containers, err := filepath.Glob(filepath.Join(d.dir, packageName, "build", "[^.]*", "*.so"))
	if err != nil {
		return err
	}
	d.say("\n# The live patches, one for each released build:")
	for _, c := range containers {
		d.say("  %-50s for glibc %s", filepath.Base(c), buildOf(filepath.Base(c)))
	}
	d.say("\n# Where everything is:")
	for _, p := range [][2]string{
		{"package directory", filepath.Join(d.dir, packageName)},
		{"containers", filepath.Join(d.dir, packageName, "build")},
		{"source package", filepath.Join(d.dir, packageName, "dist")}, {"RPM", rpms[0]},
	} {
		d.say("  %-15s %s", p[0], p[1])
	}
	return nil
}

func (d *demonstration) end(context.Context) error {
	update := filepath.Join(d.dir, "repository", "update")
	d.say("\n# The repository's server ends with this. To go on by hand, in another directory:")
	d.say("  %s", shellword.Join("lpbuild", "init", "mine", "--key",
		filepath.Join(d.dir, "repository", "key.asc"), "--repository", update, "--debuginfo",
		update+"_debug"))
	d.say("\n# Done in %s.", diag.Duration(time.Since(d.started)))
	return nil
}

// buildOf returns the build in a container's name: libc_VERSION-RELEASE_livepatchN.so.
func buildOf(container string) string {
	_, rest, _ := strings.Cut(container, "_")
	if i := strings.LastIndex(rest, "_livepatch"); i >= 0 {
		return rest[:i]
	}
	return rest
}

// command runs a program as a person would, and shows it.
func (d *demonstration) command(ctx context.Context, dir, name string, args ...string) error {
	d.say("\n$ %s", shellword.Join(append([]string{name}, args...)...))
	path := filepath.Join(d.dir, "bin") + ":" + os.Getenv("PATH")
	if name == "lpbuild" {
		name = d.Binary
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, d.Out, d.Out
	cmd.Env = append(os.Environ(), "PATH="+path, "LPBUILD_CACHE="+filepath.Join(d.dir, "store"),
		"LC_ALL=C.UTF-8")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return nil
}
