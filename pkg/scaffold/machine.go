package scaffold

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/download/repofile"
)

// MachineRepositories returns the repositories that zypper uses on the machine whose files are below root ("/"), and the
// keys that RPM came with there. There are none on a machine without zypper, or without such keys.
func MachineRepositories(root string) []Repository {
	var keys []string
	for _, pattern := range []string{"usr/lib/rpm/gnupg/keys/*.asc", "usr/lib/rpm/gnupg/keys/*.key"} {
		found, _ := filepath.Glob(filepath.Join(root, pattern)) // the pattern is a good one
		keys = append(keys, found...)
	}
	files, _ := filepath.Glob(filepath.Join(root, "etc/zypp/repos.d/*.repo"))
	if len(keys) == 0 {
		return nil
	}
	slices.Sort(files)
	var list []Repository
	for _, f := range files {
		if isDebug(f) || !isEnabled(f) {
			continue
		}
		list = append(list, Repository{URL: f, KeyFiles: keys})
	}
	for i := range list {
		for _, f := range files {
			base := strings.TrimSuffix(filepath.Base(list[i].URL), ".repo")
			if isDebug(f) && strings.HasPrefix(filepath.Base(f), base) {
				list[i].Debuginfo = f
			}
		}
	}
	return list
}

func isDebug(name string) bool {
	return strings.Contains(strings.ToLower(filepath.Base(name)), "debug")
}

func isEnabled(name string) bool {
	data, err := os.ReadFile(name)
	if err != nil {
		return false
	}
	repos, err := repofile.Parse(name, data)
	return err == nil && slices.ContainsFunc(repos, func(r repofile.Repo) bool { return r.Enabled })
}
