package glibctest

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// Compiler flags: room for detours; and debug information as a distributor has it, but less.
const (
	compilerFlags = "-fpatchable-function-entry=16,14"
	optimization  = "-O2 -g1"
)

// configureFlags leave out what no program needs at run time.
var configureFlags = []string{"--prefix=/usr", "--libdir=/usr/lib64", "--disable-werror",
	"--disable-nscd", "--disable-build-nscd",
	"--disable-timezone-tools", "--disable-crypt", "--disable-profile", "--without-selinux",
	"libc_cv_slibdir=/lib64", "libc_cv_rtlddir=/lib64"}

//go:embed entry.h
var entryHeader string

// entryFile is the header that defines the macro for the start of a function in glibc's assembly
// code for x86.
const entryFile = "sysdeps/x86/sysdep.h"

// tree is glibc, unpacked and being built.
type tree struct{ source, build string }

// compile unpacks and builds the dynamic loader and libc.so in a directory.
func compile(ctx context.Context, dir string, s *sourcePackage,
	say func(string, ...any)) (*tree, error) {
	t := &tree{source: filepath.Join(dir, "source"), build: filepath.Join(dir, "build")}
	if err := os.Mkdir(t.build, 0o755); err != nil {
		return nil, err
	}
	say("unpacking glibc %s", s.Debian)
	if _, err := (tool{dir: dir, args: []string{"dpkg-source", "--no-check", "-x", s.Description,
		t.source}}).run(ctx); err != nil {
		return nil, err
	}
	if err := t.leaveRoom(); err != nil {
		return nil, err
	}
	say("configuring")
	args := append([]string{t.source + "/configure", "CC=gcc " + compilerFlags, "CFLAGS=" +
		optimization}, configureFlags...)
	if _, err := (tool{dir: t.build, args: args}).run(ctx); err != nil {
		return nil, err
	}
	return t, t.make(ctx, say)
}

// leaveRoom gives functions written in assembly what gcc gives those written in C.
func (t *tree) leaveRoom() error {
	f, err := os.OpenFile(filepath.Join(t.source, entryFile), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("this glibc has no x86 assembly header where it is expected: %w", err)
	}
	_, err = f.WriteString(entryHeader)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// makeLog is the file with make's output, which includes the link commands.
const makeLog = "make.log"

// make builds libc.so and what it needs: no static libraries, no programs.
func (t *tree) make(ctx context.Context, say func(string, ...any)) error {
	log, err := os.Create(filepath.Join(t.build, makeLog))
	if err != nil {
		return err
	}
	defer log.Close()
	said := &counter{log: log, say: say, next: time.Now().Add(saySoon)}
	_, err = tool{dir: t.source, log: said, args: []string{"nice", "-n", "19", "make", "-r", "-j",
		strconv.Itoa(runtime.NumCPU()),
		"objdir=" + t.build, "object-suffixes=.os", filepath.Join(t.build, "libc.so")}}.run(ctx)
	return err
}

// saySoon is the interval of progress messages during a long compilation.
const saySoon = 20 * time.Second

// counter passes on make's output, and reports now and then how much that was.
type counter struct {
	log   io.Writer
	say   func(string, ...any)
	lines int
	next  time.Time
}

func (c *counter) Write(p []byte) (int, error) {
	for _, b := range p {
		if b == '\n' {
			c.lines++
		}
	}
	if now := time.Now(); now.After(c.next) {
		c.next = now.Add(saySoon)
		c.say("compiling: make has printed %d lines of about 9000", c.lines)
	}
	return c.log.Write(p)
}
