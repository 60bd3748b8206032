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

	"github.com/lpbuild/lpbuild/internal/shellword"
	"github.com/lpbuild/lpbuild/pkg/engine"
)

// Run does what a scriptlet asks for. It returns in time whatever processes do, provided that the kernel answers; see Guard for
// what does not depend on that. The error is for a program that wants to know: of a request that makes no sense, or of
// the machine. What it means for a person is in the Outcome, which is never nil.
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
	r.Transactional = r.Transactional || r.Action != Reconcile && s == Always && r.otherRoot()
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
		o.Log = append(o.Log, err.Error()) // a transaction does not wait any longer
	}
	if settingErr != nil {
		o.note("%v", settingErr)
	}
	if r.Action == Install || r.Action == Remove {
		for _, m := range c.mistakes() {
			o.note("%s", m)
		}
	}
	if s == Never && r.Action != Remove && r.Action != RemoveLibs {
		o.Nothing, o.Quiet = fmt.Sprintf("%s=never in /%s", variable, sysconfigFile), r.Action == MoveLibs // said once
		return nil
	}
	return r.act(ctx, c, o)
}

// act does what is left to do where it makes sense.
func (r *Request) act(ctx context.Context, c config, o *Outcome) error {
	switch {
	case r.Action == Install:
		return r.install(ctx, c, o)
	case r.Action == Remove:
		return r.remove(ctx, c, o)
	case r.DryRun:
		o.Nothing, o.Quiet = "a dry run moves no libraries", true
		return nil
	case r.Action == MoveLibs:
		return r.moveLibs(ctx, o)
	}
	return r.removeLibs(ctx, o)
}

// install applies the live patches of a package, and with them those that other packages have for the same libraries: whatever
// else is applied there goes under the same stop, be it of an older or of a younger version.
func (r *Request) install(ctx context.Context, c config, o *Outcome) error {
	folder, err := r.folder(ctx)
	if err != nil {
		o.Nothing = err.Error()
		return err
	}
	folders := []installed{folder}
	cs, err := r.readFolders(ctx, folders, o)
	if err != nil || len(cs.List) == 0 {
		o.Nothing = none(folder, err)
		return err
	}
	for _, other := range r.newest() {
		if s, _ := c.setting(other.pkg); other.pkg == r.Package || s == Never {
			continue
		}
		if err := ownBelow(other.base, other.elements...); err != nil {
			o.note("the live patches of %s are left out: %v", other.pkg, err)
			continue
		}
		folders = append(folders, other)
	}
	if len(folders) > 1 {
		if cs, err = r.withOthers(ctx, folders, cs, o); err != nil {
			return err
		}
	}
	return r.trigger(ctx, folders[:1], engine.Options{Containers: cs, Replace: true}, o)
}

// none says that a folder has no live patches, and why if something is wrong with it.
func none(folder installed, err error) string {
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("no live patches in %s", folder.dir())
}

// folder returns where the live patches of the package are, after they were put aside if this is a transactional update. If it is
// none, nothing that an earlier one has put aside counts any more.
func (r *Request) folder(ctx context.Context) (installed, error) {
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

// readFolders reads the live patches of folders, and notes which files are none.
func (r *Request) readFolders(ctx context.Context, folders []installed, o *Outcome) (*engine.Containers, error) {
	var files []engine.Place
	for _, f := range folders {
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
			o.note("no live patch: %v", b)
		}
	}
	cs, err := engine.ReadPlaces(ctx, files, false)
	if err != nil {
		return nil, err
	}
	for _, bad := range cs.Bad {
		o.note("no live patch: %v", bad)
	}
	return cs, nil
}

// withOthers adds what other packages have for builds that the first one is for, before what that has.
func (r *Request) withOthers(ctx context.Context, folders []installed, first *engine.Containers, o *Outcome) (*engine.Containers, error) {
	others, err := r.readFolders(ctx, folders[1:], &Outcome{}) // what is wrong with them their own hook says
	if err != nil {
		return nil, err
	}
	var files []engine.Place
	for _, c := range others.List {
		same := func(f *engine.Container) bool { return string(f.Target().BuildID) == string(c.Target().BuildID) }
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
		o.note("no live patch any more: %v", all.Bad[0])
	}
	return all, err
}

// remove takes the live patches of a package out when its last version goes, and only if the administrator wants that: a
// process is safer with a fix whose package is gone than without it.
func (r *Request) remove(ctx context.Context, c config, o *Outcome) error {
	o.revert = true
	switch {
	case r.Count > 0:
		o.Nothing, o.Quiet = "another version of the package stays", true
		return nil
	case !c.revertOnRemove():
		err := r.keepers(ctx, o)
		if r.DryRun {
			return err
		}
		return errors.Join(err, r.unshare(ctx))
	}
	folder := installed{r.Package, r.Version, r.path(packagesDir), []string{r.Package, r.Version}}
	cs, err := r.readFolders(ctx, []installed{folder, r.sharedFolder()}, o)
	if err != nil || len(cs.List) == 0 {
		o.Nothing = none(folder, err)
		return err
	}
	folder.base = r.hostPath(packagesDir) // a snapshot's folder no process sees
	err = r.trigger(ctx, []installed{folder, r.sharedFolder()}, engine.Options{Containers: cs, Revert: true}, o)
	if r.Transactional && r.host != r.Root && !r.DryRun {
		return errors.Join(err, r.shareNothing())
	}
	return errors.Join(err, r.unshare(ctx))
}

// keepers notes how many processes keep live patches of a package that is erased, and how to take them
// out. No process is stopped for that.
func (r *Request) keepers(ctx context.Context, o *Outcome) error {
	o.Nothing, o.Quiet = "live patches stay in the processes: LIVEPATCH_REVERT_ON_REMOVE is not yes", true
	folder := installed{r.Package, r.Version, r.path(packagesDir), []string{r.Package, r.Version}}
	cs, err := r.readFolders(ctx, []installed{folder, r.sharedFolder()}, &Outcome{})
	if err != nil || len(cs.List) == 0 {
		return err
	}
	look := *r
	look.DryRun = true
	folder.base = r.hostPath(packagesDir)
	would := &Outcome{dry: true}
	if err := look.trigger(ctx, []installed{folder, r.sharedFolder()}, engine.Options{Containers: cs, Revert: true}, would); err != nil {
		return err
	}
	libraries := map[string]bool{}
	for _, c := range cs.List {
		libraries[c.Target().Name] = true
	}
	advice := ""
	for _, name := range slices.Sorted(maps.Keys(libraries)) {
		advice += "; lpbuild revert --all " + shellword.Join(name)
	}
	advice = strings.TrimPrefix(advice, "; ")
	if n := would.Summary.Changed + would.Summary.Unsure; n > 0 {
		o.note("%d %s %s; to take them out: %s", n, map[bool]string{true: "process keeps live patches of", false: "processes keep live patches of"}[n == 1], r.Package, advice)
	}
	if n := would.Summary.Failed; n > 0 {
		o.note("of %d more it is not known whether they have live patches of %s", n, r.Package)
	}
	return nil
}

// reconcile applies what is installed to the processes that do not have it: they were busy when it came, or began later.
func (r *Request) reconcile(ctx context.Context, c config, o *Outcome) error {
	if !r.DryRun {
		if err := r.tidy(ctx); err != nil {
			o.note("%v", err)
		}
	}
	var folders []installed
	for _, i := range r.newest() {
		if s, err := c.setting(i.pkg); err != nil {
			o.note("%v", err)
		} else if s == Never {
			continue
		}
		if err := ownBelow(i.base, i.elements...); err != nil {
			o.note("%v", err)
			continue
		}
		folders = append(folders, i)
	}
	cs, err := r.readFolders(ctx, folders, o)
	if err != nil {
		return err
	}
	if len(cs.List) == 0 {
		o.Nothing, o.Quiet = "no live patches are installed", true
		return nil
	}
	return r.trigger(ctx, folders, engine.Options{Containers: cs, Replace: true}, o)
}

// trigger does it in all processes that see the live patches where this process does.
func (r *Request) trigger(ctx context.Context, folders []installed, o engine.Options, out *Outcome) error {
	var dirs []string
	for _, f := range folders {
		if hasContainers(f.dir()) {
			dirs = append(dirs, f.dir())
		}
	}
	mine, err := newOurs(r.Proc, dirs, r.seen)
	if err != nil {
		return err
	}
	o.Deadline, o.Timeout = shares(r.Deadline-time.Since(r.begun), r.Deadline)
	o.Selector, o.Backends, o.Root, o.Only, o.DryRun, o.MaxStop = r.Selector, r.Backends, r.Proc, mine.has, r.DryRun, r.MaxStop
	if r.DryRun && r.Transactional {
		o.Only = nil // nothing was put aside that they could see
	}
	o.First = r.unreached()
	out.Summary, err = engine.Run(ctx, o, out.add)
	if err != nil {
		out.note("not all processes were looked at: %v", err)
	}
	if !r.DryRun && r.Selector.PID == 0 {
		if err := r.noteUnreached(err); err != nil {
			out.note("the next run does not know where to go on: %v", err)
		}
	}
	return nil
}
