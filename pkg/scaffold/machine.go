package scaffold

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/download/repofile"
)

// MachineRepositories returns the repositories that zypper uses on the machine with the root
// directory root, and RPM's initial keys there. It returns none for a machine without zypper or
// without such keys.
func MachineRepositories(root string) []Repository {
	var keys []string
	for _, pattern := range []string{"usr/lib/rpm/gnupg/keys/*.asc",
		"usr/lib/rpm/gnupg/keys/*.key"} {
		found, _ := filepath.Glob(filepath.Join(root, pattern)) // the pattern is valid
		for _, name := range found {
			// an unusable key, such as a very old one, is no reason to stop
			if _, err := readKey(name); err == nil {
				keys = append(keys, name)
			}
		}
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
			if base := filepath.Base(list[i].URL); isDebug(f) &&
				slices.Contains(debuggedBy(f), base) {
				list[i].Debuginfo = f
			}
		}
	}
	return list
}

// maxRepoFile exceeds the size of any .repo file or os-release, in bytes.
const maxRepoFile = 1 << 20

// MachineProduct returns a name for the product of the machine with the root directory root, such
// as "sles-15.5", or "" if unknown.
func MachineProduct(root string) string {
	data, err := regularfile.Read(filepath.Join(root, "etc/os-release"), maxRepoFile)
	if err != nil {
		return ""
	}
	values := map[string]string{}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[key] = strings.Trim(value, `"'`)
	}
	if values["ID"] == "" || values["VERSION_ID"] == "" {
		return ""
	}
	return values["ID"] + "-" + values["VERSION_ID"]
}

// debugWord matches the part of a repository's name that marks debuginfo.
var debugWord = lazyregexp.New(`(?i)[-_.]?debug(info)?`)

func isDebug(name string) bool { return debugWord().MatchString(filepath.Base(name)) }

// debuggedBy returns possible names of the .repo file that a debuginfo repository belongs to: its
// own name without the word, as in SLE-Product-SLES15-SP5-Debuginfo-Updates; openSUSE's repo-debug
// belongs to repo-oss.
func debuggedBy(name string) []string {
	base := debugWord().ReplaceAllString(filepath.Base(name), "")
	return []string{base, strings.TrimSuffix(base, ".repo") + "-oss.repo"}
}

func isEnabled(name string) bool {
	data, err := regularfile.Read(name, maxRepoFile)
	if err != nil {
		return false
	}
	repos, err := repofile.Parse(name, data)
	return err == nil && slices.ContainsFunc(repos, func(r repofile.Repo) bool { return r.Enabled })
}
