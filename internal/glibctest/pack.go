package glibctest

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"text/template"

	"github.com/lpbuild/lpbuild/internal/distro"
)

//go:embed glibc.spec.tmpl
var specText string

var spec = template.Must(template.New("glibc.spec").Parse(specText))

// pack makes the RPMs of a build whose unstripped files are in linked, and unpacks the main one.
func pack(ctx context.Context, s *sourcePackage, number int, linked string,
	say func(string, ...any)) (glibcBuild, error) {
	b := glibcBuild{Version: s.Version, Release: releases[number]}
	rpm, err := tool{args: []string{"rpmbuild", "--version"}}.run(ctx)
	if err != nil {
		return b, err
	}
	dir, err := distro.Remember(ctx, "glibc-rpms", []any{specText, linked, b.Version, b.Release,
		rpm, packFormat}, func(dir string) error {
		say("packing glibc-%s-%s", b.Version, b.Release)
		return rpmbuild(ctx, dir, b, linked)
	})
	if err != nil {
		return b, err
	}
	b.Dir = filepath.Join(dir, "root", "lib64")
	b.Loader, b.Libc = filepath.Join(b.Dir, loaderName), filepath.Join(b.Dir, libcName)
	b.RPM = filepath.Join(dir, fmt.Sprintf("glibc-%s-%s.x86_64.rpm", b.Version, b.Release))
	b.Debuginfo = filepath.Join(dir, fmt.Sprintf("glibc-debuginfo-%s-%s.x86_64.rpm", b.Version,
		b.Release))
	return b, nil
}

// packFormat changes when pack gives other results for the same inputs.
const packFormat = 1

// rpmbuild leaves the two RPMs in dir, and in dir/root the files that the first would install.
func rpmbuild(ctx context.Context, dir string, b glibcBuild, linked string) error {
	top := filepath.Join(dir, "top")
	for _, sub := range []string{"BUILD", "RPMS", "tmp"} {
		if err := os.MkdirAll(filepath.Join(top, sub), 0o755); err != nil {
			return err
		}
	}
	var text bytes.Buffer
	err := spec.Execute(&text, struct {
		glibcBuild
		Names  []string
		Linked string
	}{b, []string{loaderName, libcName}, linked})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(top, "glibc.spec"), text.Bytes(), 0o644); err != nil {
		return err
	}
	args := []string{"rpmbuild", "-bb", "--quiet", "--nodeps", "--target", "x86_64-linux"}
	for _, macro := range []string{"_topdir " + top, "_dbpath " + top + "/db", "_tmppath " + top +
		"/tmp", "_builddir " + top + "/BUILD",
		"_rpmdir " + dir, "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
		"_buildhost lpbuild",
		"_binary_payload w3.zstdio", "_build_id_links none"} {
		args = append(args, "--define", macro)
	}
	if _, err := (tool{dir: top, args: append(args, "glibc.spec")}).run(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(top); err != nil {
		return err
	}
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	file := fmt.Sprintf("../glibc-%s-%s.x86_64.rpm", b.Version, b.Release)
	_, err = tool{dir: root, args: []string{"sh", "-c", `rpm2cpio "$0" | cpio -idm --quiet`,
		file}}.run(ctx)
	return err
}
