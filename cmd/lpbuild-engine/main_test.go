package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lpbuild/lpbuild/internal/enginecli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){enginecli.Name: main, "ulp": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", RequireExplicitExec: true})
}

// TestDependencies keeps out of a program that runs as root inside other people's processes
// whatever downloads, verifies signatures, reads YAML or compiles.
func TestDependencies(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, "github.com/lpbuild/lpbuild/pkg/engine/native") {
		t.Fatalf("go list -deps lists %d packages without the engine", len(deps))
	}
	for _, dep := range deps {
		for _, not := range []string{"net/http", "crypto/tls", "openpgp", "yaml", "rpmutils", "/xz",
			"klauspost", "lpbuild/pkg/download", "lpbuild/pkg/buildmatrix", "lpbuild/pkg/spec",
			"lpbuild/pkg/obs", "lpbuild/internal/distro"} {
			if strings.Contains(dep, not) {
				t.Errorf("%s depends on %s", enginecli.Name, dep)
			}
		}
	}
}

// TestSize builds the program as its RPM does.
func TestSize(t *testing.T) {
	file := filepath.Join(t.TempDir(), enginecli.Name)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o",
		file, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	const most = 8_000_000
	if info.Size() > most {
		t.Errorf("%s has %d bytes, want at most %d", enginecli.Name, info.Size(), most)
	}
}
