package glibctest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Names of the two files of a build, as they are installed in /lib64.
const (
	loaderName = "ld-linux-x86-64.so.2"
	libcName   = "libc.so.6"
)

// linked are the files that are linked again for each build, and their names in glibc's build folder.
var linked = []struct{ name, output, in string }{
	{loaderName, "elf/ld.so.new", "elf/librtld.os"},
	{libcName, "libc.so", "libc_pic.os"},
}

// linkFlags are what distributors link with, beside what glibc's makefiles say. libpulp wants the old kind of hash table, too.
const linkFlags = "-Wl,--build-id=sha1 -Wl,--hash-style=both"

// link links loader and libc into dir once more, with filler before everything else: code, data and thread-local variables
// move, and the build-id changes, as with a rebuild with other patches.
func (t *tree) link(ctx context.Context, dir string, variant int) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	filler := filepath.Join(t.build, fmt.Sprintf("filler%d", variant))
	if err := os.WriteFile(filler+".s", []byte(fillerText(variant)), 0o644); err != nil {
		return err
	}
	if _, err := (tool{dir: t.build, args: []string{"gcc", "-c", "-o", filler + ".o", filler + ".s"}}).run(ctx); err != nil {
		return err
	}
	log, err := os.ReadFile(filepath.Join(t.build, makeLog))
	if err != nil {
		return err
	}
	for _, l := range linked {
		command, err := linkCommand(string(log), filepath.Join(t.build, l.output), filepath.Join(t.build, l.in))
		if err != nil {
			return err
		}
		command = strings.Replace(command, " -o "+filepath.Join(t.build, l.output)+" ", " "+filler+".o -o "+filepath.Join(dir, l.name)+" ", 1)
		if _, err := (tool{dir: t.build, args: []string{"sh", "-c", command + " " + linkFlags}}).run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// fillerText is the source of an object of a size of its own.
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

var errNoLink = errors.New("make did not say how it linked it")

// linkCommand finds the command that linked output from input in what make printed. Its words are separated by single
// blanks, and one follows output.
func linkCommand(log, output, input string) (string, error) {
	log = strings.ReplaceAll(log, "\\\n", " ")
	for line := range strings.Lines(log) {
		words := strings.Fields(line)
		command := strings.Join(words, " ")
		if strings.Contains(command, " -shared ") && strings.Contains(command+" ", " "+input+" ") && strings.Contains(command, " -o "+output+" ") {
			return command, nil
		}
	}
	return "", fmt.Errorf("link %s: %w", filepath.Base(output), errNoLink)
}
