package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// What the example's test program says before and after malloc is patched.
const (
	saysUnpatched = "glibc"
	saysPatched   = "glibc-livepatch"
)

// live patches malloc in a running program, which uses the machine's own C library and was started
// as any other: nothing is preloaded. Then it takes the live patch out again.
func (d *demonstration) live(ctx context.Context) error {
	if runtime.GOARCH != "amd64" {
		d.say("\n# Not shown here: patching a running program without a preload, which is for " +
			"x86_64 so far.")
		return nil
	}
	d.say("\n# The same fix, in a program that runs: the machine's own C library, nothing " +
		"preloaded, nothing restarted.")
	dir := filepath.Join(d.dir, "live")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	source := filepath.Join(d.dir, packageName)
	if err := d.command(ctx, dir, "gcc", "-O2", "-o", "program",
		filepath.Join(source, "test.c")); err != nil {
		return err
	}
	p, err := startProgram(ctx, filepath.Join(dir, "program"))
	if err != nil {
		return err
	}
	defer p.stop()
	d.say("\n$ ./program &")
	if err := d.hear(p, saysUnpatched); err != nil {
		return err
	}
	container, err := d.stockContainer(ctx, dir, source, p.pid())
	if err != nil {
		return err
	}
	return d.patchAndRevert(ctx, dir, p, container)
}

// patchAndRevert is what is done to the program.
func (d *demonstration) patchAndRevert(ctx context.Context, dir string, p *program,
	container string) error {
	pid := strconv.Itoa(p.pid())
	steps := []struct {
		args []string
		says string
	}{
		{[]string{"trigger", "-p", pid, container}, saysPatched},
		{[]string{"status", "-p", pid}, saysPatched},
		{[]string{"revert", "-p", pid, "--all", "libc.so.6"}, saysUnpatched},
		{[]string{"status", "-p", pid}, saysUnpatched},
	}
	for _, s := range steps {
		if err := d.command(ctx, dir, "lpbuild", s.args...); err != nil {
			return err
		}
		if err := d.hear(p, s.says); err != nil {
			return err
		}
	}
	return nil
}

// stockContainer makes a container for the C library that the program runs with. That may have no
// NOPs: malloc is then one of those functions where a jump is proven to be safe, and the container
// says that it is made for this.
func (d *demonstration) stockContainer(ctx context.Context, dir, source string,
	pid int) (string, error) {
	libc, err := libcOf(ctx, pid)
	if err != nil {
		return "", err
	}
	const container = "libc_livepatch1.so"
	description := fmt.Sprintf("%s\n@%s\nmalloc:malloc_lp\n", filepath.Join(dir, container), libc)
	if err := os.WriteFile(filepath.Join(dir, "libc_livepatch1.dsc"), []byte(description),
		0o644); err != nil {
		return "", err
	}
	if err := d.command(ctx, dir, "gcc", "-O2", "-fPIC", "-shared", "-Wl,--build-id=sha1", "-o",
		container, filepath.Join(source, "libc_livepatch1.c")); err != nil {
		return "", err
	}
	return container, d.command(ctx, dir, "lpbuild", "ulp", "packer", "--entries=any",
		"libc_livepatch1.dsc")
}

// libcOf returns the path of the C library that a process runs with.
func libcOf(ctx context.Context, pid int) (string, error) {
	p, err := process.Look(ctx, pid, process.Options{})
	if err != nil {
		return "", err
	}
	libraries, err := p.Libraries(ctx)
	if err != nil {
		return "", err
	}
	for _, l := range libraries {
		if l.SONAME == "libc.so.6" {
			return l.Path, nil
		}
	}
	return "", errors.New("the test program runs without libc.so.6")
}

// program is the example's test program, running.
type program struct {
	cmd   *exec.Cmd
	lines chan string
}

func startProgram(ctx context.Context, path string) (*program, error) {
	cmd := exec.CommandContext(ctx, path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &program{cmd, make(chan string)}
	go p.read(out)
	return p, nil
}

// read passes the program's lines on; those that nobody waits for are dropped, so that what is
// heard is new.
func (p *program) read(out io.Reader) {
	defer close(p.lines)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		select {
		case p.lines <- lines.Text():
		default:
		}
	}
}

func (p *program) pid() int { return p.cmd.Process.Pid }

func (p *program) stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // killed: that is what it says
}

// heard is how many lines are shown, and patience how long they may take: the program says ten a
// second.
const (
	heard    = 2
	patience = 10 * time.Second
)

// hear shows the next lines of the program, which must all be what it should say. What it said
// before may still come first.
func (d *demonstration) hear(p *program, want string) error {
	timeout := time.After(patience)
	for n := 0; n < heard; {
		select {
		case line, ok := <-p.lines:
			switch {
			case !ok:
				return errors.New("the test program has ended")
			case line == want:
				d.say("  program: %s", line)
				n++
			case n > 0:
				return fmt.Errorf("the test program says %q again, not %q", strings.TrimSpace(line),
					want)
			}
		case <-timeout:
			return fmt.Errorf("the test program did not say %q within %s", want,
				diag.Duration(patience))
		}
	}
	return nil
}
