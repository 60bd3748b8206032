package trigger

import (
	"context"
	"fmt"
	"os/user"
	"strconv"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/ulp/process"
)

// Variables with which the owner of a process says that it is not to be patched: lists of patterns with colons between
// them, for the path of the program, and for names or numbers of users and groups. libpulp.so reads them itself.
const (
	disablePath   = "LIBPULP_DISABLE_ON_PATH"
	disableUsers  = "LIBPULP_DISABLE_ON_USERS"
	disableGroups = "LIBPULP_DISABLE_ON_GROUPS"
)

// OptedOut returns an ErrBlocked if the environment that a process was started with forbids patching it, or the error of
// reading that. It is for engines that have nothing in the process which would know.
func OptedOut(ctx context.Context, p *process.Process) error {
	env, err := p.Environ(ctx, disablePath, disableUsers, disableGroups)
	if err != nil {
		return err
	}
	if list := env[disablePath]; listed(list, p.Exe) || p.StartedBy != "" && listed(list, p.StartedBy) {
		return fmt.Errorf("%w: %s", ErrBlocked, disablePath)
	}
	if list := env[disableUsers]; list != "" {
		uid := strconv.FormatUint(uint64(p.UID.Real), 10)
		u, err := user.LookupId(uid)
		if listed(list, uid) || err == nil && listed(list, u.Username) {
			return fmt.Errorf("%w: %s", ErrBlocked, disableUsers)
		}
	}
	if list := env[disableGroups]; list != "" {
		gid := strconv.FormatUint(uint64(p.GID.Real), 10)
		g, err := user.LookupGroupId(gid)
		if listed(list, gid) || err == nil && listed(list, g.Name) {
			return fmt.Errorf("%w: %s", ErrBlocked, disableGroups)
		}
	}
	return nil
}

// listed says whether one of the patterns describes a name.
func listed(list, name string) bool {
	for pattern := range strings.SplitSeq(list, ":") {
		if pattern != "" && NewWildcard(pattern).Match(name) {
			return true
		}
	}
	return false
}
