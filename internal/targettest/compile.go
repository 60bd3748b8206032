package targettest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

// Compile has gcc make a file, with optimisation and all usual warnings unless args say otherwise.
// The error has what gcc said.
func Compile(ctx context.Context, out string, args ...string) error {
	args = append([]string{"-O2", "-Wall", "-o", out}, args...)
	if text, err := exec.CommandContext(ctx, "gcc", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("gcc %q: %w\n%s", args, err, text)
	}
	return nil
}

// Builds are what the tests of one package make before they start anything, each once. The zero
// value is one without a directory: [Builds.Run] makes it.
type Builds struct {
	// Dir is where it all lies. Other users may read it.
	Dir string

	done sync.Map // of func() (string, error) by key
	mu   sync.Mutex
	dirs int
}

// Run runs the tests of a package in the presence of the directory, and returns the exit code. It
// is what TestMain does.
func (b *Builds) Run(m *testing.M) int {
	var err error
	if b.Dir, err = os.MkdirTemp("", "targettest-"); err == nil {
		err = os.Chmod(b.Dir, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(b.Dir)
	return m.Run()
}

// GCC compiles a file of this name ("libtarget.so", "program/name") into a directory of its own,
// and returns its path. What the same arguments made before is used again.
func (b *Builds) GCC(t testing.TB, name string, args ...string) string {
	t.Helper()
	path, err := b.TryGCC(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TryGCC is GCC for what a machine's gcc may not be able to do.
func (b *Builds) TryGCC(name string, args ...string) (string, error) {
	if !filepath.IsLocal(name) {
		// where another user may have one
		return "", fmt.Errorf("%s would be made outside of the test's own directory", name)
	}
	return b.Once(fmt.Sprintf("%q", append([]string{name}, args...)), func() (string, error) {
		dir, err := b.Directory()
		if err != nil {
			return "", err
		}
		out := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
			return "", err
		}
		return out, Compile(context.Background(), out, args...)
	})
}

// Once returns what making returned for the key, now or before. Tests that want it meanwhile wait.
func (b *Builds) Once(key string, making func() (string, error)) (string, error) {
	once, _ := b.done.LoadOrStore(key, sync.OnceValues(making))
	return once.(func() (string, error))()
}

// Directory makes a new directory, with a name as short as can be: sockets and the kernel's names
// of processes have limits.
func (b *Builds) Directory() (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dirs++
	dir := filepath.Join(b.Dir, strconv.Itoa(b.dirs))
	return dir, os.Mkdir(dir, 0o755)
}
