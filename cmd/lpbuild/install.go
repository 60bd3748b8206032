package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix"
	"github.com/lpbuild/lpbuild/pkg/spec"
)

func newInstall(s *console.Console, g *globalOptions) *cobra.Command {
	var root, engine, units string
	var arch []string
	cmd := &cobra.Command{
		Use:   "install --root DIR",
		Short: "Install the built containers below a directory: %install of the RPM build",
		Long: `
The spec file that "lpbuild dist" writes calls this command in %install. There is no need to call
it by hand: the RPM package installs the containers on a machine.

Copies the containers of the last build to DIR/usr/lib64/NAME/VERSION, with mode 0755, because RPM
before 4.17 generates Provides for a shared object only if it is executable.

With --engine, only the files for "engine: bundled" are installed: lpbuild-engine and, in
the directory that --units names, NAME-reconcile.service and NAME-reconcile.timer. They apply live
patches to processes that were busy. They do nothing on a machine with the package lpbuild-engine,
whose timer does this for all packages.` +
			console.Exits(nil, console.ExitError, console.ExitInterrupted),
		Example: "  lpbuild install --root %{buildroot}\n" +
			"  lpbuild install --arch ppc64le --root /tmp/root\n" +
			"  lpbuild install --root %{buildroot} --units %{_unitdir} \\\n" +
			"      --engine %{_libexecdir}/%{name}/lpbuild-engine",
		Args: console.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if root == "" {
				return console.Usage(errors.New("--root is required"), "lpbuild install")
			}
			release, err := g.hold(cmd.Context(), s)
			if err != nil {
				return err
			}
			defer release()
			in, err := readInputs(g, arch)
			if err != nil {
				return err
			}
			var names []string
			if engine != "" {
				names, err = installEngine(in, engine, units, root)
			} else {
				names, err = buildmatrix.Install(in.config, in.only, root)
			}
			if err != nil {
				return err
			}
			if s.JSON {
				return s.PrintJSON(console.List(names))
			}
			for _, name := range names {
				s.Print("%s\n", name)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "`DIR` install below this directory (%{buildroot})")
	cmd.Flags().StringSliceVar(&arch, "arch", nil,
		"`ARCH,...` install only these architectures (default: all of lpbuild.yaml)")
	completeArch(cmd, g)
	cmd.Flags().StringVar(&engine, "engine", "",
		"`PATH` install lpbuild-engine at PATH below the root, and no containers")
	cmd.Flags().StringVar(&units, "units", "",
		"`DIR` with --engine: install systemd units in this directory below the root")
	return cmd
}

// installEngine installs lpbuild-engine as the engine of a package.
func installEngine(in *inputs, engine, units, root string) ([]string, error) {
	arches := in.only
	if len(arches) == 0 {
		arches = in.config.Arch
	}
	if len(arches) != 1 {
		return nil, console.Usage(errors.New("--engine requires --arch with one architecture, "+
			"that of this program"), "lpbuild install")
	}
	program, err := engineProgram()
	if err != nil {
		return nil, err
	}
	return spec.Engine{Program: program, Arch: arches[0], Package: in.config.Name, Path: engine,
		Units: units}.Install(root)
}

// engineProgram finds lpbuild-engine: beside this program, or in the PATH.
func engineProgram() (string, error) {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "lpbuild-engine")
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	found, err := exec.LookPath("lpbuild-engine")
	if err != nil {
		return "", fmt.Errorf("%w: it is built with lpbuild, and belongs into the same directory",
			err)
	}
	return found, nil
}
