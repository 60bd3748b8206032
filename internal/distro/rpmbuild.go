package distro

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"text/template"

	"golang.org/x/sync/errgroup"
)

//go:embed standin
var standin embed.FS

var specs = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{"dir": path.Dir,
		"base": path.Base}).
		ParseFS(standin, "standin/*.spec.tmpl"))
})

// makeRPMs runs rpmbuild for each build and leaves the RPMs in dir, which is created if necessary.
// It returns the paths of the binary RPMs and, separately, those of the debuginfo RPMs, both in the
// order of builds. Every file's modification time is its build time. After an error, dir has at
// most the RPMs of finished builds.
//
// cachedRPMs does the same once and caches the result.
func makeRPMs(ctx context.Context, dir string,
	builds []Build) (rpms, debuginfo []string, err error) {
	if builds, err = normalBuilds(builds); err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, b := range builds {
		g.Go(func() error { return makeRPM(gctx, dir, b) })
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	rpms, debuginfo = rpmPaths(builds, func(Build) string { return dir })
	return rpms, debuginfo, nil
}

// normalBuilds fills in the defaults and rejects two builds that would write the same file.
func normalBuilds(builds []Build) ([]Build, error) {
	seen := map[string]bool{}
	normal := make([]Build, len(builds))
	for i, b := range builds {
		b, err := b.normal()
		if err != nil {
			return nil, err
		}
		if seen[b.FileName()] {
			return nil, fmt.Errorf("build %s is listed twice", b)
		}
		seen[b.FileName()] = true
		normal[i] = b
	}
	return normal, nil
}

// rpmPaths returns the paths of the builds' RPMs, given the directory of each.
func rpmPaths(builds []Build, dir func(Build) string) (rpms, debuginfo []string) {
	for _, b := range builds {
		rpms = append(rpms, filepath.Join(dir(b), b.FileName()))
		if b.HasDebuginfo() {
			debuginfo = append(debuginfo, filepath.Join(dir(b), b.debuginfoFileName()))
		}
	}
	return rpms, debuginfo
}

// makeRPM builds one normal build in its own directory below dir and renames its RPMs into dir.
func makeRPM(ctx context.Context, dir string, b Build) error {
	top, err := os.MkdirTemp(dir, ".rpmbuild-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(top)
	if top, err = filepath.Abs(top); err != nil {
		return err
	}
	if err := plainPath(top); err != nil {
		return err
	}
	if err := writeSources(filepath.Join(top, "SOURCES"), b); err != nil {
		return fmt.Errorf("build %s: %w", b, err)
	}
	if err := runRPMBuild(ctx, top, b); err != nil {
		return fmt.Errorf("build %s: %w", b, err)
	}
	made, err := filepath.Glob(filepath.Join(top, "RPMS", "*.rpm"))
	if err != nil {
		return err
	}
	for _, file := range made {
		if err := os.Chtimes(file, b.BuildTime, b.BuildTime); err != nil {
			return err
		}
		if err := os.Rename(file, filepath.Join(dir, filepath.Base(file))); err != nil {
			return err
		}
	}
	return nil
}

func runRPMBuild(ctx context.Context, top string, b Build) error {
	macros := map[string]string{
		"_topdir": top, "_dbpath": top + "/db", "_tmppath": top + "/tmp", "_builddir": top +
			"/BUILD",
		"_sourcedir": top + "/SOURCES", "_rpmdir": top + "/RPMS",
		"_rpmfilename": "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
		"_buildhost":   "lpbuild", "_binary_payload": compressions[b.Compression],
		"_build_id_links":                    "none",
		"use_source_date_epoch_as_buildtime": "1", "clamp_mtime_to_source_date_epoch": "1",
	}
	args := []string{"-bb", "--quiet", "--nodeps", "--target", b.Arch + "-linux"}
	for name, value := range macros {
		args = append(args, "--define", name+" "+value)
	}
	for _, sub := range []string{"BUILD", "RPMS", "tmp"} {
		if err := os.Mkdir(filepath.Join(top, sub), 0o755); err != nil {
			return err
		}
	}
	if b.Name == "glibc" {
		compiler, _ := compilerFor(b.Arch)
		if _, err := exec.LookPath(compiler); err != nil {
			return missing(compiler, err)
		}
	}
	_, err := command{path: "rpmbuild", args: append(args, top+"/SOURCES/package.spec"), dir: top,
		home: top,
		env:  []string{"SOURCE_DATE_EPOCH=" + strconv.FormatInt(b.BuildTime.Unix(), 10)}}.run(ctx)
	return err
}

// writeSources writes the spec file, and the files it names, into a new directory.
func writeSources(dir string, b Build) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	text, err := specText(b)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "package.spec"), text, 0o644); err != nil ||
		b.Name != "glibc" {
		return err
	}
	for _, l := range libraries(b) {
		script, err := versionScript(l.Script, b.minor(), b.Arch)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, l.Script+".map"), []byte(script),
			0o644); err != nil {
			return err
		}
	}
	code, err := fs.Sub(standin, "standin")
	if err != nil {
		return err
	}
	if err := os.CopyFS(dir, code); err != nil || b.Padding == 0 {
		return err
	}
	return writePadding(filepath.Join(dir, "padding"), b.Padding)
}

// specText returns the spec file of a normal build.
func specText(b Build) ([]byte, error) {
	var text bytes.Buffer
	if b.Name != "glibc" {
		err := specs().ExecuteTemplate(&text, "other.spec.tmpl", b)
		return text.Bytes(), err
	}
	compiler, flags := compilerFor(b.Arch)
	err := specs().ExecuteTemplate(&text, "glibc.spec.tmpl", struct {
		Build
		Compiler, CFlags, DebugSuffix string
		Libraries                     []library
	}{b, compiler, strings.Join(append(flags, cflags(b)...), " "),
		fmt.Sprintf("%s-%s.%s", b.Version, b.Release, b.Arch), libraries(b)})
	return text.Bytes(), err
}

// compilerFor returns the compiler for an architecture and the flags that select the architecture.
func compilerFor(arch string) (compiler string, flags []string) {
	native := map[string]string{"amd64": "x86_64", "arm64": "aarch64",
		"ppc64le": "ppc64le"}[runtime.GOARCH]
	t := targets[arch]
	switch {
	case arch == native:
		return "gcc", t.cflags
	case arch == "i686" && native == "x86_64":
		return "gcc", []string{"-m32", "-march=i686"}
	}
	return t.crossGCC(), t.cflags
}

func cflags(b Build) []string {
	flags := []string{
		"-O2", "-g", "-std=gnu11", "-fPIC", "-Wall", "-ffreestanding", "-fno-builtin",
		"-fno-stack-protector",
		"-fno-tree-loop-distribute-patterns", // would turn a loop in memset into a call of memset
		"-fno-ipa-icf",                       // would merge functions with equal bodies
		"-ffile-prefix-map=%{_sourcedir}=/usr/src/debug/glibc",
		"-ffile-prefix-map=%{_builddir}=/usr/src/debug/glibc",
		fmt.Sprintf("-DLIBC_MINOR=%d", b.minor()), fmt.Sprintf("-DVARIANT=%d", b.Variant),
		fmt.Sprintf(`'-DBASE="GLIBC_%s"'`, targets[b.Arch].base), fmt.Sprintf(`'-DBANNER="%s"'`,
			b.EVR()),
	}
	if !b.Unpatchable {
		flags = append(flags, "-fpatchable-function-entry="+targets[b.Arch].nops)
	}
	if b.CET {
		flags = append(flags, "-fcf-protection=full")
	}
	return flags
}

// writePadding writes n bytes, always the same, that compress to about a third, as debug
// information does.
func writePadding(name string, n int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, &padding{rand.New(rand.NewPCG(1, 2))}, n)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

type padding struct{ random *rand.Rand }

func (p *padding) Read(out []byte) (int, error) {
	for i := range out {
		if out[i] = 0; i%8 < 3 {
			out[i] = byte(p.random.Uint32())
		}
	}
	return len(out), nil
}

// toolVersions returns everything besides the sources that determines the bytes of an RPM for that
// architecture.
func toolVersions(ctx context.Context, arch string) (string, error) {
	rpm, err := command{path: "rpm", args: []string{"--version"}, home: "/nonexistent"}.run(ctx)
	if err != nil || arch == "noarch" {
		return string(rpm), err
	}
	compiler, _ := compilerFor(arch)
	gcc, err := command{path: compiler, args: []string{"--version"}, home: "/nonexistent"}.run(ctx)
	return string(rpm) + string(gcc), err
}
