package glibctest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Names of the two files of a build, as installed in /lib64.
const (
	loaderName = "ld-linux-x86-64.so.2"
	libcName   = "libc.so.6"
)

// linked are the files that are linked again for each build, and their names in glibc's build
// directory.
var linked = []struct{ name, output, in string }{
	{loaderName, "elf/ld.so.new", "elf/librtld.os"},
	{libcName, "libc.so", "libc_pic.os"},
}

// linkFlags are distributors' link flags, in addition to those in glibc's makefiles. libpulp also
// needs the old kind of hash table.
const linkFlags = "-Wl,--build-id=sha1 -Wl,--hash-style=both"

// link links loader and libc again into dir, with filler before everything else: code, data and
// thread-local variables move, and the build-id changes, as in a rebuild with other patches.
func (t *tree) link(ctx context.Context, dir string, variant int) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	filler := filepath.Join(t.build, fmt.Sprintf("filler%d", variant))
	if err := os.WriteFile(filler+".s", []byte(fillerText(variant)), 0o644); err != nil {
		return err
	}
	if _, err := (tool{dir: t.build, args: []string{"gcc", "-c", "-o", filler + ".o", filler +
		".s"}}).run(ctx); err != nil {
		return err
	}
	log, err := os.ReadFile(filepath.Join(t.build, makeLog))
	if err != nil {
		return err
	}
	for _, l := range linked {
		command, err := linkCommand(string(log), filepath.Join(t.build, l.output),
			filepath.Join(t.build, l.in))
		if err != nil {
			return err
		}
		command = strings.Replace(command, " -o "+filepath.Join(t.build, l.output)+" ", " "+filler+
			".o -o "+filepath.Join(dir, l.name)+" ", 1)
		if _, err := (tool{dir: t.build,
			args: []string{"sh", "-c", command + " " + linkFlags}}).run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// fillerText returns the source of an object whose size depends on variant.
func fillerText(variant int) string {
	if variant == 0 {
		return ".section .note.GNU-stack,\"\",@progbits\n"
	}
	n := variant
	return fmt.Sprintf(`.text
.skip %d, 0xcc
.section .rodata
.skip %d
.data
.skip %d
.bss
.skip %d
.section .tbss, "awT", @nobits
.skip %d
.section .note.GNU-stack, "", @progbits
`, 4880*n, 1216*n, 208*n, 320*n, 48*n)
}

var errNoLink = errors.New("make's output has no command that linked it")

// linkCommand finds the command in make's output that linked output from input. It expects single
// blanks between words, and one after output.
func linkCommand(log, output, input string) (string, error) {
	log = strings.ReplaceAll(log, "\\\n", " ")
	for line := range strings.Lines(log) {
		words := strings.Fields(line)
		command := strings.Join(words, " ")
		if strings.Contains(command, " -shared ") && strings.Contains(command+" ", " "+input+" ") &&
			strings.Contains(command, " -o "+output+" ") {
			return command, nil
		}
	}
	return "", fmt.Errorf("link %s: %w", filepath.Base(output), errNoLink)
}
