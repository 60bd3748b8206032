package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/store"
	"github.com/lpbuild/lpbuild/pkg/progress"
)

type downloadOptions struct {
	offline bool
	jobs    int
	store   string

	forget     bool
	allowOlder bool

	releasever string
}

func (o *downloadOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.offline, "offline", false,
		"use no network: restore the catalogue from the store and the lock")
	f.IntVarP(&o.jobs, "jobs", "j", 0, "`N` fetch and read this many RPMs at once (0: 4)")
	f.StringVar(&o.releasever, "releasever", "",
		"`VERSION` value of $releasever in .repo files (default: the product's, 15.5 for "+
			"SLE-15-SP5)")
	f.BoolVar(&o.forget, "forget", false,
		"drop builds from lpbuild.lock that are in no repository any more")
	f.BoolVar(&o.allowOlder, "allow-older", false,
		"accept repositories that are older than lpbuild.lock says")
	f.StringVar(&o.store, "store", "",
		"`DIR` keep downloaded files here (default: $LPBUILD_CACHE, or lpbuild in the user's "+
			"cache directory)")
}

func newDownload(s *console.Console, g *globalOptions) *cobra.Command {
	var o downloadOptions
	cmd := &cobra.Command{
		Use:   "download",
		Short: "Download and verify every released build, and pin it in lpbuild.lock",
		Long: `
Reads the repositories in lpbuild.yaml and downloads every build of its packages that is within
the version ranges.

A repository is trusted only if one of its pinned keys has signed it, and an RPM only if the
repository has its digest and a pinned key has signed it as well. The symbols of the libraries and
of their debuginfo are written to the directory "catalogue", and every build is pinned in
lpbuild.lock. Both belong in version control.

A build that is in no repository any more stays in the lock, with the date, because customers may
have it in memory. --forget drops such builds. A build that is faulty in itself is reported, with
exit code 1, and the others are pinned.

The lock records the state of each repository. An older state is refused even if its signature is
valid, because somebody may be holding back newer builds. --allow-older accepts it. With "max-age:
30 days" in a repository's entry in lpbuild.yaml, metadata with an older signature are refused,
too.

Nothing is downloaded twice: a store in the user's cache directory keeps all files for all package
directories. An interrupted download is resumed. If a repository changes during the download, its
metadata are read once more. Concurrent runs in one package directory wait for each other.` +
			console.Exits(map[int]string{console.ExitError: "an error, or a build was left out"},
				console.ExitError, console.ExitSignature, console.ExitUnsupported,
				console.ExitInterrupted),
		Example: `  lpbuild download
  lpbuild download --offline         # restore the catalogue without a network
  lpbuild download --json | jq -r '.added[]'`,
		Args: console.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDownload(cmd.Context(), s, g, o)
		},
	}
	o.addFlags(cmd)
	return cmd
}

func runDownload(ctx context.Context, s *console.Console, g *globalOptions,
	o downloadOptions) error {
	if o.jobs < 0 {
		return console.Usage(errors.New("--jobs must not be negative"), "lpbuild download")
	}
	if strings.ContainsFunc(o.releasever, func(r rune) bool {
		return !strings.ContainsRune("._-", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) {
		return console.Usage(fmt.Errorf("--releasever: %q is not a version", o.releasever),
			"lpbuild download")
	}
	release, err := g.hold(ctx, s)
	if err != nil {
		return err
	}
	defer release()
	cfg, err := g.config()
	if err != nil {
		return err
	}
	st, err := openStore(o.store)
	if err != nil {
		return err
	}
	if o.offline {
		lock, err := download.Offline(ctx, cfg.File(config.LockName), cfg.Dir, st)
		if err != nil {
			return err
		}
		return printDownload(s, g, &download.Result{Lock: lock})
	}
	req, err := cfg.Request(time.Now())
	if err != nil {
		return err
	}
	if o.releasever != "" {
		req.ReleaseVersion = o.releasever
	}
	res, err := download.Run(ctx, req, download.Options{
		Dir: cfg.Dir, Lock: cfg.File(config.LockName), Store: st, Jobs: o.jobs,
		Forget: o.forget, AllowOlder: o.allowOlder, Progress: progress.Func(s.Progress),
	})
	if err != nil {
		return err
	}
	if err := printDownload(s, g, res); err != nil {
		return err
	}
	return oddBuilds(res.Odd)
}

// oddBuilds returns an error that lists the builds left out of the lock, nil if there are none.
func oddBuilds(odds []download.OddBuild) error {
	var list diag.List
	for _, o := range odds {
		list = append(list, &diag.Diagnostic{Message: fmt.Sprintf("%s is left out: %v", o.Name,
			o.Err), Hint: o.Hint()})
	}
	return list.Err()
}

func openStore(dir string) (*store.Store, error) {
	if dir == "" {
		var err error
		if dir, err = store.DefaultDir(); err != nil {
			return nil, err
		}
	}
	return store.Open(dir)
}

func printDownload(s *console.Console, g *globalOptions, res *download.Result) error {
	patched := res.Lock.Patched()
	others := len(res.Lock.Builds) - patched
	var names []string
	for _, o := range res.Odd {
		names = append(names, o.Name)
	}
	if s.JSON {
		return s.PrintJSON(struct {
			Builds int `json:"builds"`
			// builds beside these that patches name no library of
			ExportsOnly int      `json:"exports_only"`
			Added       []string `json:"added"`
			Removed     []string `json:"removed"`
			Gone        []string `json:"gone"` // in no repository any more since the former lock
			Odd         []string `json:"odd"`  // left out
			Unsigned    bool     `json:"unsigned"`
		}{patched, others, console.List(res.Added), console.List(res.Removed),
			console.List(res.Gone), console.List(names), res.Lock.IsUnsigned()})
	}
	for _, name := range res.Added {
		s.Print("new   %s\n", name)
	}
	for _, name := range res.Removed {
		s.Print("drop  %s\n", name)
	}
	for _, name := range res.Gone {
		s.Print("gone  %s (in no repository any more; kept until lpbuild download --forget)\n",
			name)
	}
	note := ""
	if n := res.Lock.Gone(); n > 0 {
		note = fmt.Sprintf(", %d of them in no repository any more", n)
	}
	if others > 0 {
		note += fmt.Sprintf(", %d more only for their exports", others)
	}
	if res.Lock.IsUnsigned() {
		note += " (UNSIGNED: not all of them are verified by a key)"
	}
	s.Print("%s in %s%s\n", console.Plural(patched, "build"), config.LockName, note)
	if len(res.Odd) == 0 {
		s.Next(g.command("build"))
	}
	return nil
}
