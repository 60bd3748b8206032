package distro

import (
	"fmt"
	"path"
)

// library is one shared object of the stand-in.
type library struct {
	Script  string   // its section in standin/libc.versions; the name of its version script
	Sources []string // in standin
	Soname  string   // empty for a module, which has none
	Path    string   // of the file, in the package
	Link    string   // path of a symbolic link to it in the same directory; "" if none
	Against []string // paths of the libraries that it is linked against
}

// libraries returns the libraries of a valid glibc build, each after those it is linked against.
func libraries(b Build) []library {
	t := targets[b.Arch]
	shared := func(script, stem, soname string, against []string, sources ...string) library {
		l := library{Script: script, Sources: sources, Soname: soname, Path: "/" + t.lib + "/" +
			soname, Against: against}
		if b.minor() < 34 {
			l.Link = l.Path
			l.Path = fmt.Sprintf("/%s/%s-%s.so", t.lib, stem, b.Version)
		}
		return l
	}
	loader := library{Script: "ld.so", Sources: []string{"ld.c"}, Soname: path.Base(t.loader),
		Path: t.loader}
	if b.minor() < 34 {
		loader.Link = loader.Path
		loader.Path = fmt.Sprintf("%s/ld-%s.so", path.Dir(t.loader), b.Version)
	}
	libcSources := []string{"malloc.c", "string.c", "stdio.c", "posix.c"}
	if b.minor() >= 34 {
		libcSources = append(libcSources, "pthread.c", "dl.c", "rt.c")
	}
	libc := shared("libc.so", "libc", "libc.so.6", []string{loader.Path}, libcSources...)
	onLibc := []string{libc.Path}
	all := []library{loader, libc, {Script: "gconv.so", Sources: []string{"gconv.c"},
		Against: onLibc,
		Path:    "/usr/" + t.lib + "/gconv/ISO-2022-CN-EXT.so"}}
	if b.minor() >= 34 {
		return append(all, shared("gone.so", "libpthread", "libpthread.so.0", onLibc, "gone.c"),
			shared("gone.so", "libdl", "libdl.so.2", onLibc, "gone.c"),
			shared("gone.so", "librt", "librt.so.1", onLibc, "gone.c"))
	}
	return append(all, shared("libpthread.so", "libpthread", "libpthread.so.0", onLibc,
		"pthread.c"),
		shared("libdl.so", "libdl", "libdl.so.2", onLibc, "dl.c"),
		shared("librt.so", "librt", "librt.so.1", onLibc, "rt.c"))
}
