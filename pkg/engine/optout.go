package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/user"
	"strconv"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// Variables with which the owner of a process says that it is not to be patched: lists of patterns
// with colons between them (with groups, as bash has them), for the path of the program as the
// process sees it, and for names or numbers of users and groups. libpulp.so reads them itself.
const (
	disablePath   = "LIBPULP_DISABLE_ON_PATH"
	disableUsers  = "LIBPULP_DISABLE_ON_USERS"
	disableGroups = "LIBPULP_DISABLE_ON_GROUPS"
)

// What an unprivileged user set up never decides about a privileged process: an opt-out does not
// count where the environment may be another user's than the one with whose rights the process
// runs.

// ignoredNote is what a report says of that.
const ignoredNote = "its opt-out is ignored: it runs with other rights than those of the user " +
	"who started it"

// optedOut is OptedOut for a process whose environment is its own user's; for any other it notes
// that there is an opt-out.
func (v *View) optedOut(ctx context.Context) error {
	err := OptedOut(ctx, v)
	switch {
	case err == nil, !v.Process.Elevated():
		return err
	case errors.Is(err, ErrBlocked):
		v.note = ignoredNote
	case ctx.Err() != nil, errors.Is(err, process.ErrGone), errors.Is(err, process.ErrChanged):
		return err
	}
	return nil // what cannot be read would not count either
}

// userDisabled reports whether libpulp.so, which obeys any environment, is disabled in the process
// by one that does not count. "ulp set_patchable disable" does count; where an opt-out is in the
// environment, too, the two cannot be told apart.
func (v *View) userDisabled(ctx context.Context) bool {
	return v.Process.Elevated() && v.blocked(ctx) != nil && errors.Is(OptedOut(ctx, v), ErrBlocked)
}

// OptedOut returns an ErrBlocked if the environment that a process was started with forbids
// patching it, or the error of reading that. It is for engines that have nothing in the process
// which would know.
func OptedOut(ctx context.Context, v *View) error {
	p := v.Process
	env, err := environ(ctx, v, disablePath, disableUsers, disableGroups)
	if err != nil {
		return err
	}
	if list := env[disablePath]; listed(list, p.Exe, p.StartedBy, inRoot(p.Exe, p.Root),
		inRoot(p.StartedBy, p.Root)) {
		return fmt.Errorf("%w: %s", ErrBlocked, disablePath)
	}
	if list := env[disableUsers]; list != "" {
		uid, name := strconv.FormatUint(uint64(p.UID.Real), 10), ""
		if u, err := user.LookupId(uid); err == nil {
			name = u.Username
		}
		if listed(list, uid, name) {
			return fmt.Errorf("%w: %s", ErrBlocked, disableUsers)
		}
	}
	if list := env[disableGroups]; list != "" {
		gid, name := strconv.FormatUint(uint64(p.GID.Real), 10), ""
		if g, err := user.LookupGroupId(gid); err == nil {
			name = g.Name
		}
		if listed(list, gid, name) {
			return fmt.Errorf("%w: %s", ErrBlocked, disableGroups)
		}
	}
	return nil
}

// environ returns variables that a process was started with. Some programs (postgres, nginx) show
// their work where these were; then they are where the program has put them.
func environ(ctx context.Context, v *View, names ...string) (map[string]string, error) {
	found, whole, err := v.Process.Environ(ctx, names...)
	if err != nil || whole || v.Memory == nil {
		return found, err
	}
	moved, err := v.Memory.Environ(ctx, v.Libraries, names...)
	if err != nil {
		return nil, err
	}
	maps.Copy(moved, found)
	return moved, nil
}

// inRoot returns a path as a process sees it whose root is another directory than ours; "" if it
// sees it as we do.
func inRoot(path, root string) string {
	if rest, ok := strings.CutPrefix(path, root); ok && strings.HasPrefix(rest, "/") && root != "" {
		return rest
	}
	return ""
}

// listed reports whether one of the patterns describes one of the names that are not "".
func listed(list string, names ...string) bool {
	for pattern := range strings.SplitSeq(list, ":") {
		for _, name := range names {
			if pattern != "" && name != "" && extended(pattern).match(name) {
				return true
			}
		}
	}
	return false
}
