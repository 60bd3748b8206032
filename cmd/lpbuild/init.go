package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/internal/shellword"
	"github.com/lpbuild/lpbuild/pkg/scaffold"
)

type initOptions struct {
	repositories, debuginfo, keys, arch []string
	name, product, pkg, builds, tree    string
	unsigned                            bool
}

func (o *initOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&o.repositories, "repository", nil,
		"`URL|FILE` repository: a URL, a path or a .repo file; may be repeated\n"+
			"(default: the zypper repositories of this machine)")
	f.StringArrayVar(&o.debuginfo, "debuginfo", nil,
		"`URL` debuginfo repository; the first --debuginfo belongs to the first --repository, "+
			"and so on")
	f.StringArrayVar(&o.keys, "key", nil,
		"`FILE` OpenPGP key that signs the repositories; may be repeated")
	f.BoolVar(&o.unsigned, "unsigned", false, "accept repositories without a signature")
	f.StringVar(&o.name, "name", "", "`NAME` name of the RPM package (default: the directory's)")
	f.StringVar(&o.product, "product", "",
		"`NAME` product that the builds belong to, such as SLE-15-SP5\n"+
			"(default: without --repository, that of this machine)")
	f.StringVar(&o.pkg, "package", "glibc", "`PACKAGE` patch the builds of this package")
	f.StringVar(&o.builds, "builds", "",
		"`RANGE` patch only builds in this range of versions, such as \">= 2.31-150300.9\"")
	f.StringVar(&o.tree, "import", "",
		"`DIR` import the descriptions (.in, .dsc) and sources below this directory\n"+
			"instead of writing an example")
	f.StringSliceVar(&o.arch, "arch", []string{"x86_64"},
		"`ARCH,...` build for these architectures")
}

func newInit(s *console.Console) *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Create a package directory, with an example or from existing sources",
		Long: `
Creates a package directory: the configuration, an example (a live patch for malloc) with its
description and test program, and a README for the package's maintainer.

The example is for glibc. With another --package, FILL_IN stands for the library and for the
function to replace: "lpbuild download" then lists the libraries of the package, and "lpbuild
build" the functions that can be replaced.

With --import DIR, the package is made from the descriptions (.in or .dsc) in DIR, each with the
source of the same name or the only source next to it. Files keep their places. Containers whose
names collide are renumbered. The output lists what was renumbered, what could not be imported,
and what lpbuild.yaml now accepts ("overlaps", "recursion") because of what the sources say. Check
it.

Without --repository, the zypper repositories of this machine are used, with the keys that its RPM
trusts.` +
			console.Exits(nil, console.ExitError),
		Example: `  lpbuild init glibc-livepatches --product SLE-15-SP5 \
      --repository https://example.com/15-SP5/update \
      --debuginfo https://example.com/15-SP5/update_debug \
      --key vendor.asc
  cd glibc-livepatches && lpbuild download && lpbuild build`,
		Args: console.OneArgument("DIR"),
		RunE: func(_ *cobra.Command, args []string) error { return runInit(s, o, args[0]) },
	}
	o.addFlags(cmd)
	return cmd
}

func runInit(s *console.Console, o initOptions, dir string) error {
	if dir == "" {
		// an unset variable, most likely, and not the directory that one happens to be in
		return console.Usage(errors.New("DIR must not be empty"), "lpbuild init")
	}
	repositories, err := o.sources()
	if err != nil {
		return console.Usage(err, "lpbuild init")
	}
	now, err := currentTime()
	if err != nil {
		return err
	}
	// what $releasever in the machine's own repositories stands for
	if len(o.repositories) == 0 && o.product == "" {
		o.product = scaffold.MachineProduct("/")
	}
	var left, renumbered, assumed []string
	options := scaffold.Options{
		Import: o.tree, Left: &left, Renumbered: &renumbered, Assumed: &assumed,
		Name: o.name, Product: o.product, Arch: o.arch, Package: o.pkg, Builds: o.builds,
		Repositories: repositories,
		Author:       defaultAuthor(), Time: now,
	}
	names, err := scaffold.Write(dir, options)
	if err != nil {
		return err
	}
	if s.JSON {
		return s.PrintJSON(console.List(names))
	}
	for _, name := range names {
		s.Print("%s\n", filepath.Join(dir, name))
	}
	for _, what := range renumbered {
		s.Print("renumbered: %s\n", what)
	}
	for _, what := range assumed {
		s.Print("check in lpbuild.yaml: %s\n", what)
	}
	for _, what := range left {
		s.Print("left out: %s\n", what)
	}
	if o.tree == "" && !options.Example() {
		s.Next(shellword.Join("cd", dir) + " && lpbuild download")
		s.Print("download lists the libraries of %s: put one of them in place of %s in "+
			"lpbuild.yaml.\n"+
			"build then lists functions that can be replaced: put one in livepatch1.in, and its "+
			"replacement in livepatch1.c.\n",
			o.pkg, scaffold.FillIn)
		return nil
	}
	s.Next(shellword.Join("cd", dir) + " && lpbuild download && lpbuild build")
	return nil
}

func (o *initOptions) sources() ([]scaffold.Repository, error) {
	if len(o.repositories) == 0 {
		if len(o.keys)+len(o.debuginfo) > 0 || o.unsigned {
			return nil, errors.New("--key, --debuginfo and --unsigned require --repository")
		}
		if found := scaffold.MachineRepositories("/"); len(found) > 0 {
			return found, nil
		}
		return nil, errors.New("this machine has no zypper repositories: name one with " +
			"--repository, and its key with --key")
	}
	if len(o.keys) > 0 && o.unsigned {
		return nil, errors.New("--key and --unsigned cannot be used together")
	}
	if len(o.keys) == 0 && !o.unsigned {
		return nil, errors.New("--key is required: the key that signs the repository (or " +
			"--unsigned, to accept one without a signature)")
	}
	if len(o.debuginfo) > len(o.repositories) {
		return nil, fmt.Errorf("%d --debuginfo flags for %d --repository flags", len(o.debuginfo),
			len(o.repositories))
	}
	var list []scaffold.Repository
	for i, url := range o.repositories {
		r := scaffold.Repository{URL: url, KeyFiles: o.keys}
		if i < len(o.debuginfo) {
			r.Debuginfo = o.debuginfo[i]
		}
		list = append(list, r)
	}
	return list, nil
}
