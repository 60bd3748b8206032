package realtest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	// enabled is the variable that lets the tests run: they need programs that nothing else needs.
	enabled = "LPBUILD_TEST_REAL"
	// inside is set in the namespaces.
	inside = "LPBUILD_TEST_REAL_INSIDE"
)

// dir has what is built once: lpbuild and the container.
var dir string

// TestMain runs the tests again in namespaces of their own: no other process is there to be
// patched, nothing reaches the network, and everything that was started ends with the tests.
func TestMain(m *testing.M) {
	flag.Parse()
	bench := flag.Lookup("test.bench").Value.String() != "" && canBench()
	switch {
	case os.Getenv(inside) == "" && (os.Getenv(enabled) != "" || bench):
		os.Exit(again())
	case os.Getenv(inside) == "":
		os.Exit(m.Run())
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// again runs this program in the namespaces, and returns its exit code.
func again() int {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	args := append([]string{"--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc",
		self}, os.Args[1:]...)
	cmd := exec.Command("unshare", args...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "in namespaces of their own:", err)
		return 1
	}
	return 0
}

// run runs the tests where everything is in place.
func run(m *testing.M) (int, error) {
	if err := loopbackUp(); err != nil {
		return 0, fmt.Errorf("network of the namespace: %w", err)
	}
	var err error
	if dir, err = os.MkdirTemp("", "realtest-"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return 0, err
	}
	if err := build(context.Background()); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// functions are those of libc that the container replaces, in the order of its counts.
var functions = []string{"malloc", "read", "write", "writev", "recv", "send", "epoll_wait", "close",
	"pread64", "pwrite64", "epoll_pwait"}

// build builds lpbuild, and a live patch for the libc of this machine.
func build(ctx context.Context) error {
	text := container() + "\n@" + libcPath + "\n"
	for _, f := range functions {
		text += f + ":" + f + "_lp\n"
	}
	description := filepath.Join(dir, "libc_livepatch1.dsc")
	if err := os.WriteFile(description, []byte(text), 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"go", "build", "-trimpath", "-o", lpbuild(), "github.com/lpbuild/lpbuild/cmd/lpbuild"},
		{"gcc", "-O2", "-Wall", "-Werror", "-fPIC", "-shared", "-Wl,--build-id=sha1", "-o",
			container(), "testdata/libc_livepatch1.c"},
		{lpbuild(), "ulp", "packer", "--entries=any", description},
	} {
		if out, err := command(ctx, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%q: %w\n%s", args, err, out)
		}
	}
	return nil
}

// libcPath is the libc that Debian's programs have in memory.
const libcPath = "/lib/x86_64-linux-gnu/libc.so.6"

func lpbuild() string { return filepath.Join(dir, "lpbuild") }

func container() string { return filepath.Join(dir, "libc_livepatch1.so") }

func command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return cmd
}

// nobody is the user that the servers run as, as far as they let themselves.
var nobody = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}

// home returns a directory that belongs to nobody.
func home(t testing.TB) string {
	t.Helper()
	d := t.TempDir()
	for _, err := range []error{os.Chmod(filepath.Dir(d), 0o755), os.Chmod(d, 0o700),
		os.Chown(d, 65534, 65534)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return d
}
