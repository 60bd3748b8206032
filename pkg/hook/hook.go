package hook

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lpbuild/lpbuild/internal/program"
	"github.com/lpbuild/lpbuild/internal/shellword"
	"github.com/lpbuild/lpbuild/pkg/engine"
)

// Run performs the action that a scriptlet requests. It returns in time whatever processes do,
// provided that the kernel answers; see Guard for what does not depend on that. The error is meant
// for programs: the request is invalid, or the system failed. The Outcome, which is never nil, says
// what that means for the user.
func Run(ctx context.Context, r Request) (*Outcome, error) {
	o := &Outcome{}
	r, err := r.normal()
	if err != nil {
		o.Nothing = err.Error()
		return o, err
	}
	r.begun, o.dry = time.Now(), r.DryRun
	if err := r.do(ctx, o); err != nil {
		if o.Nothing == "" {
			o.note("%v", err)
		}
		return o, err
	}
	return o, nil
}

func (r *Request) do(ctx context.Context, o *Outcome) error {
	c, err := readSysconfig(r.path(sysconfigFile))
	if err != nil {
		o.note("%v", err)
	}
	if why := r.where(); why != "" {
		o.Nothing, o.Quiet = string(why), why == buildRoot || why == noProc
		return nil
	}
	s, variable, settingErr := c.settingBy(r.Package)
	r.Transactional = r.Transactional || r.Action != Reconcile && s == settingAlways &&
		r.otherRoot()
	r.setHost()
	if err := r.checkHost(); err != nil {
		o.Nothing = err.Error()
		return err
	}
	wait := r.Deadline / lockShare
	if r.Action == Reconcile {
		wait = 0 // it comes again
	}
	unlock, err := r.lock(ctx, wait)
	defer unlock()
	if r.Action == Reconcile {
		if err != nil {
			o.Nothing, o.Quiet = err.Error(), true
			return nil
		}
		return r.reconcile(ctx, c, o)
	}
	if err != nil {
		o.Log = append(o.Log, err.Error()) // a transaction waits no longer
	}
	if settingErr != nil {
		o.note("%v", settingErr)
	}
	if r.Action == Install || r.Action == Remove {
		for _, m := range c.mistakes() {
			o.note("%s", m)
		}
	}
	if s == settingNever && r.Action != Remove && r.Action != RemoveLibs {
		// said once
		o.Nothing, o.Quiet = fmt.Sprintf("%s=never in /%s", variable, sysconfigFile),
			r.Action == MoveLibs
		return nil
	}
	return r.act(ctx, c, o)
}

// act performs the action, if it applies here.
func (r *Request) act(ctx context.Context, c config, o *Outcome) error {
	switch {
	case r.Action == Install:
		return r.install(ctx, c, o)
	case r.Action == Remove:
		return r.remove(ctx, c, o)
	case r.DryRun:
		o.Nothing, o.Quiet = "dry run: no libraries are moved", true
		return nil
	case r.Action == MoveLibs:
		return r.moveLibs(ctx, o)
	}
	return r.removeLibs(ctx, o)
}

// install applies the live patches of a package, together with those that other packages have for
// the same libraries: they are applied in the same stop, whether their versions are older or newer.
func (r *Request) install(ctx context.Context, c config, o *Outcome) error {
	dir, err := r.patchDir(ctx)
	if err != nil {
		o.Nothing = err.Error()
		return err
	}
	dirs := []installed{dir}
	cs, err := r.readDirs(ctx, dirs, o)
	if err != nil || len(cs.List) == 0 {
		o.Nothing = none(dir, err)
		return err
	}
	for _, other := range r.newest() {
		if s, _ := c.setting(other.pkg); other.pkg == r.Package || s == settingNever {
			continue
		}
		if err := ownBelow(other.base, other.elements...); err != nil {
			o.note("the live patches of %s are ignored: %v", other.pkg, err)
			continue
		}
		dirs = append(dirs, other)
	}
	if len(dirs) > 1 {
		if cs, err = r.withOthers(ctx, dirs, cs, o); err != nil {
			return err
		}
	}
	return r.trigger(ctx, dirs[:1], engine.Options{Containers: cs, Replace: true}, o)
}

// none returns the message that a directory has no live patches, with the reason if something is
// wrong with it.
func none(dir installed, err error) string {
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("no live patches in %s", dir.dir())
}

// patchDir returns the directory with the live patches of the package, after putting them aside if
// this is a transactional update. If the package has none, live patches that were put aside earlier
// no longer count.
func (r *Request) patchDir(ctx context.Context) (installed, error) {
	switch {
	case r.DryRun:
	case r.Transactional:
		return r.share()
	default:
		if err := r.unshare(ctx); err != nil {
			return installed{}, err
		}
	}
	return installed{r.Package, r.Version, r.path(packagesDir), []string{r.Package, r.Version}}, nil
}

// readDirs reads the live patches of directories, and notes which files are invalid.
func (r *Request) readDirs(ctx context.Context, dirs []installed,
	o *Outcome) (*engine.Containers, error) {
	var files []engine.Place
	for _, f := range dirs {
		found, bad, err := containerFiles(f.base, f.elements...)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return nil, err
		}
		for _, file := range found {
			files = append(files, engine.Place{File: file, Path: r.seenElsewhere(file)})
		}
		for _, b := range bad {
			o.note("not a live patch: %v", b)
		}
	}
	cs, err := engine.ReadPlaces(ctx, files, false)
	if err != nil {
		return nil, err
	}
	for _, bad := range cs.Bad {
		o.note("not a live patch: %v", bad)
	}
	return cs, nil
}

// withOthers adds what other packages have for the first one's builds, before the first one's own.
func (r *Request) withOthers(ctx context.Context, dirs []installed, first *engine.Containers,
	o *Outcome) (*engine.Containers, error) {
	others, err := r.readDirs(ctx, dirs[1:], &Outcome{}) // their own hook reports their faults
	if err != nil {
		return nil, err
	}
	var files []engine.Place
	for _, c := range others.List {
		same := func(f *engine.Container) bool {
			return string(f.Target().BuildID) == string(c.Target().BuildID)
		}
		if slices.ContainsFunc(first.List, same) {
			files = append(files, engine.Place{File: c.File, Path: c.Path})
		}
	}
	if len(files) == 0 {
		return first, nil
	}
	for _, c := range first.List {
		files = append(files, engine.Place{File: c.File, Path: c.Path})
	}
	all, err := engine.ReadPlaces(ctx, files, false)
	if err == nil && len(all.Bad) > 0 {
		o.note("no longer a live patch: %v", all.Bad[0])
	}
	return all, err
}

// remove reverts the live patches of a package when its last version is erased, and only if the
// administrator wants that: a process is safer with a fix whose package is gone than without it.
func (r *Request) remove(ctx context.Context, c config, o *Outcome) error {
	o.revert = true
	switch {
	case r.Count > 0:
		o.Nothing, o.Quiet = "another version of the package remains", true
		return nil
	case !c.revertOnRemove():
		err := r.keepers(ctx, o)
		if r.DryRun {
			return err
		}
		return errors.Join(err, r.unshare(ctx))
	}
	dir := installed{r.Package, r.Version, r.path(packagesDir), []string{r.Package, r.Version}}
	cs, err := r.readDirs(ctx, []installed{dir, r.asideDir()}, o)
	if err != nil || len(cs.List) == 0 {
		o.Nothing = none(dir, err)
		return err
	}
	dir.base = r.hostPath(packagesDir) // processes do not see a snapshot's directory
	err = r.trigger(ctx, []installed{dir, r.asideDir()},
		engine.Options{Containers: cs, Revert: true}, o)
	if r.Transactional && r.host != r.Root && !r.DryRun {
		return errors.Join(err, r.shareNothing())
	}
	return errors.Join(err, r.unshare(ctx))
}

// keepers notes how many processes keep live patches of an erased package, and how to revert them.
// No process is stopped for that.
func (r *Request) keepers(ctx context.Context, o *Outcome) error {
	o.Nothing, o.Quiet = "live patches stay applied: LIVEPATCH_REVERT_ON_REMOVE is not yes", true
	dir := installed{r.Package, r.Version, r.path(packagesDir), []string{r.Package, r.Version}}
	cs, err := r.readDirs(ctx, []installed{dir, r.asideDir()}, &Outcome{})
	if err != nil || len(cs.List) == 0 {
		return err
	}
	look := *r
	look.DryRun = true
	dir.base = r.hostPath(packagesDir)
	would := &Outcome{dry: true}
	if err := look.trigger(ctx, []installed{dir, r.asideDir()},
		engine.Options{Containers: cs, Revert: true}, would); err != nil {
		return err
	}
	libraries := map[string]bool{}
	for _, c := range cs.List {
		libraries[c.Target().Name] = true
	}
	advice := ""
	for _, name := range slices.Sorted(maps.Keys(libraries)) {
		advice += program.Text("; lpbuild revert --all ") + shellword.Join(name)
	}
	advice = strings.TrimPrefix(advice, "; ")
	if n := would.Summary.Changed + would.Summary.Unsure; n > 0 {
		o.note("%d %s %s; to revert them: %s", n, map[bool]string{true: "process keeps live " +
			"patches of", false: "processes keep live patches of"}[n == 1], r.Package, advice)
	}
	if n := would.Summary.Failed; n > 0 {
		o.note("for %d more it is unknown whether they have live patches of %s", n, r.Package)
	}
	return nil
}

// reconcile applies the installed live patches to the processes that lack them, because they were
// busy at the time or started later.
func (r *Request) reconcile(ctx context.Context, c config, o *Outcome) error {
	if !r.DryRun {
		if err := r.tidy(ctx); err != nil {
			o.note("%v", err)
		}
	}
	var dirs []installed
	for _, i := range r.newest() {
		if s, err := c.setting(i.pkg); err != nil {
			o.note("%v", err)
		} else if s == settingNever {
			continue
		}
		if err := ownBelow(i.base, i.elements...); err != nil {
			o.note("%v", err)
			continue
		}
		dirs = append(dirs, i)
	}
	cs, err := r.readDirs(ctx, dirs, o)
	if err != nil {
		return err
	}
	if len(cs.List) == 0 {
		o.Nothing, o.Quiet = "no live patches are installed", true
		return nil
	}
	return r.trigger(ctx, dirs, engine.Options{Containers: cs, Replace: true}, o)
}

// trigger runs the engine on all processes that see the live patches in the same place as this
// process.
func (r *Request) trigger(ctx context.Context, from []installed, o engine.Options,
	out *Outcome) error {
	var dirs []string
	for _, f := range from {
		if hasContainers(f.dir()) {
			dirs = append(dirs, f.dir())
		}
	}
	mine, err := newOurs(r.Proc, dirs, r.seen)
	if err != nil {
		return err
	}
	o.Deadline, o.Timeout = shares(r.Deadline-time.Since(r.begun), r.Deadline)
	o.Selector, o.Engines, o.Root, o.Only, o.DryRun, o.MaxStop = r.Selector, r.Engines, r.Proc,
		mine.has, r.DryRun, r.MaxStop
	if r.DryRun && r.Transactional {
		o.Only = nil // nothing was put aside that they could see
	}
	o.First = r.unreached()
	out.Summary, err = engine.Run(ctx, o, out.add)
	if err != nil {
		out.note("some processes were not examined: %v", err)
	}
	if !r.DryRun && r.Selector.PID == 0 {
		if err := r.noteUnreached(err); err != nil {
			out.note("the next run will not know where to continue: %v", err)
		}
	}
	return nil
}
