package download_test

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"github.com/lpbuild/lpbuild/internal/distro"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/store"
)

// testPackage is a package of shared libraries that tests build with gcc and rpmbuild.
type testPackage struct {
	Name, Version, Release string
	Epoch                  int
	Source                 string // source package; "" means Name
	Payload                string // payload format as rpmbuild names it; "" means w3.zstdio
	Libraries              []testLibrary
	Links                  map[string]string // symbolic links: path to target
	Debuginfo              debuginfoKind
	Unstripped             bool // the libraries keep the names of their private functions
	// package that the debuginfo package is named after; "" means Name
	DebugName string
}

// testLibrary is a shared library in a package.
type testLibrary struct {
	Path, SONAME, Code string
	BuildID            string // as the linker spells it; "" means sha1
}

// debuginfoKind is the way in which a debuginfo package names its files.
type debuginfoKind int

const (
	noDebuginfo  debuginfoKind = iota
	byBuildID                  // by path, with links by build-id as rpmbuild makes them
	byPathOnly                 // by path
	ofOtherBuild               // by path, but the files are of another build of the libraries
	dwzed                      // by path, and dwz moved what they share to a file of its own
	dwzedPart                  // the same without that file
)

var packageSpec = template.Must(template.New("").Parse(`
%global debug_package %{nil}
%global __os_install_post %{nil}
Name: {{.Source}}
Version: {{.Version}}
{{if .Epoch}}Epoch: {{.Epoch}}{{end}}
Release: {{.Release}}
Summary: A package for tests
License: MIT
AutoReqProv: no
%description
It has libraries.
{{- if ne .Name .Source}}
%package -n {{.Name}}
Summary: A part of it
AutoReqProv: no
%description -n {{.Name}}
Some of its libraries.
{{- end}}
{{- if .Debuginfo}}
%package -n {{.DebugName}}-debuginfo
Summary: Debug information
AutoReqProv: no
%description -n {{.DebugName}}-debuginfo
Of its libraries.
{{- end}}
%install
cp -a %{_sourcedir}/root/. %{buildroot}
%files -n {{.Name}}
{{- range .Libraries}}
{{.Path}}
{{- end}}
{{- range $path, $target := .Links}}
{{$path}}
{{- end}}
{{- if .Debuginfo}}
%files -n {{.DebugName}}-debuginfo
/usr/lib/debug
{{- end}}
`))

// build makes the RPM and, if the package has one, the debuginfo RPM.
func (p testPackage) build(t *testing.T) (rpm, debug string) {
	t.Helper()
	if p.Source == "" {
		p.Source = p.Name
	}
	if p.DebugName == "" {
		p.DebugName = p.Name
	}
	if p.Payload == "" {
		p.Payload = "w3.zstdio"
	}
	top := t.TempDir()
	root := filepath.Join(top, "SOURCES", "root")
	for _, l := range p.Libraries {
		p.install(t, top, root, l)
	}
	for link, target := range p.Links {
		makeDir(t, filepath.Dir(filepath.Join(root, link)))
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	var spec bytes.Buffer
	if err := packageSpec.Execute(&spec, p); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(top, "package.spec"), spec.String())
	runTool(t, top, "rpmbuild", "-bb", "--quiet", "--target", "x86_64", "--define", "_topdir "+top,
		"--define", "_dbpath "+top+"/db",
		"--define", "_rpmdir "+top, "--define",
		"_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
		"--define", "_binary_payload "+p.Payload, "--define", "_build_id_links none",
		"package.spec")
	stem := fmt.Sprintf("-%s-%s.x86_64.rpm", p.Version, p.Release)
	rpm, debug = filepath.Join(top, p.Name+stem), filepath.Join(top, p.DebugName+"-debuginfo"+stem)
	if p.Debuginfo == noDebuginfo {
		debug = ""
	}
	return rpm, debug
}

// install compiles one library into the root of the package, with its debuginfo.
func (p testPackage) install(t *testing.T, top, root string, l testLibrary) {
	t.Helper()
	code, lib := "library.c", "library.so"
	writeFile(t, filepath.Join(top, code), l.Code)
	args := []string{"-shared", "-nostdlib", "-fPIC", "-g", "-O1",
		"-fpatchable-function-entry=16,14", "-ffile-prefix-map=" + top + "=/src",
		"-Wl,--build-id=" + cmp.Or(l.BuildID, "sha1"), "-o", lib, code}
	if l.SONAME != "" {
		args = append(args, "-Wl,-soname,"+l.SONAME)
	}
	runTool(t, top, "gcc", args...)
	target := filepath.Join(root, l.Path)
	makeDir(t, filepath.Dir(target))
	debug := filepath.Join(root, "usr/lib/debug", l.Path+"-"+p.Version+"-"+p.Release+
		".x86_64.debug")
	if p.Unstripped {
		runTool(t, top, "cp", lib, target)
		return
	}
	if p.Debuginfo == noDebuginfo {
		runTool(t, top, "eu-strip", "-o", target, lib)
		return
	}
	makeDir(t, filepath.Dir(debug))
	runTool(t, top, "eu-strip", "-o", target, "-f", debug, lib)
	switch p.Debuginfo {
	case byBuildID:
		id := strings.TrimSpace(runTool(t, top, "sh", "-c", "eu-readelf -n "+lib+
			" | sed -n 's/.*Build ID: //p'"))
		link := filepath.Join(root, "usr/lib/debug/.build-id", id[:2], id[2:]+".debug")
		makeDir(t, filepath.Dir(link))
		if err := os.Symlink("../.."+l.Path+path.Base(debug)[len(path.Base(l.Path)):],
			link); err != nil && !os.IsExist(err) {
			t.Fatal(err) // two files of one build share the link
		}
	case dwzed, dwzedPart:
		common := filepath.Join(root, "usr/lib/debug/.dwz", p.Name+".x86_64")
		makeDir(t, filepath.Dir(common))
		runTool(t, top, "cp", debug, "copy.debug")
		runTool(t, top, "dwz", "-m", common, "-M", "../../.dwz/"+p.Name+".x86_64", debug,
			"copy.debug")
		if p.Debuginfo == dwzedPart {
			runTool(t, top, "rm", common)
		}
	case ofOtherBuild:
		writeFile(t, filepath.Join(top, code), l.Code+"\nint other_build(void) { return 1; }\n")
		runTool(t, top, "gcc", args...)
		runTool(t, top, "eu-strip", "-o", "other.so", "-f", debug, lib)
	}
}

func makeDir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	makeDir(t, filepath.Dir(name))
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func runTool(t *testing.T, dir, tool string, args ...string) string {
	t.Helper()
	cmd := exec.Command(tool, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SOURCE_DATE_EPOCH=1700000000", "HOME="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", tool, err, out)
	}
	return string(out)
}

// packageWorld returns a distributor with these packages, signed.
func packageWorld(t *testing.T, packages ...testPackage) *world {
	t.Helper()
	root := t.TempDir()
	var rpms, debugs []string
	for _, p := range packages {
		rpm, debug := p.build(t)
		rpms = append(rpms, rpm)
		if debug != "" {
			debugs = append(debugs, debug)
		}
	}
	key, err := distro.CachedKey(t.Context(), filepath.Join(root, "key"), distro.KeyOptions{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{ctx: t.Context(), root: root,
		repo: &distro.Repository{Dir: filepath.Join(root, "update"), Key: key}}
	w.publish(t, w.repo.Dir, rpms)
	if len(debugs) > 0 {
		w.repo.DebugDir = filepath.Join(root, "update_debug")
		w.publish(t, w.repo.DebugDir, debugs)
	}
	if w.server, err = distro.Serve(root); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.server.Close() })
	if w.store, err = store.Open(filepath.Join(t.TempDir(), "store")); err != nil {
		t.Fatal(err)
	}
	w.newDir(t)
	return w
}

// publish adds RPMs to a repository.
func (w *world) publish(t *testing.T, dir string, rpms []string) {
	t.Helper()
	if err := distro.MakeRepository(t.Context(), dir, rpms,
		distro.RepositoryOptions{Key: w.repo.Key, SignRPMs: true}); err != nil {
		t.Fatal(err)
	}
}

// want returns a change that requests packages and libraries of them.
func want(packages, libraries string) func(*download.Request) {
	return func(r *download.Request) {
		r.Packages, r.Libraries = nil, strings.Fields(libraries)
		for name := range strings.FieldsSeq(packages) {
			r.Packages = append(r.Packages, download.Package{Name: name})
		}
	}
}

// exportsOf reads the export list that the lock pins for a build.
func (w *world) exportsOf(t *testing.T, b *download.Build) *download.ExportList {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, b.Exports.File))
	if err != nil {
		t.Fatal(err)
	}
	list, err := download.ParseExports(data)
	if err != nil {
		t.Fatal(err)
	}
	return list
}
