package console

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Mention is a file or a variable that commands use. --help and man pages say the same of it.
type Mention struct {
	Name, Text string
	Commands   []string // "hook" stands for all commands below it as well
}

// Files are the files that commands use besides those that their arguments name.
var Files = []Mention{
	{"lpbuild.yaml", "configuration of the package, see lpbuild.yaml(5)",
		[]string{"init", "download", "build", "dist", "submit", "changes add", "clean", "install"}},
	{"lpbuild.lock", "every build, pinned", []string{"download", "build", "dist", "install"}},
	{"catalogue/", "what is known of each build's libraries", []string{"download", "build",
		"dist"}},
	{"build/ARCH/", "containers", []string{"build", "dist", "install", "clean"}},
	{"build/report.json",
		"what became of each patch for each build, and which engines can apply it",
		[]string{"build", "dist", "install", "clean"}},
	{"dist/", "spec file, source archive, changes file and filters for rpmlint",
		[]string{"dist", "submit", "clean"}},
	{"NAME.changes", "what changed for the customer, newest first", []string{"init", "changes add",
		"dist"}},
	{"~/.cache/lpbuild/", "store of what was downloaded, shared by all package directories",
		[]string{"download"}},
	{"/etc/zypp/credentials.d/", "credentials that a repository URL names", []string{"download"}},
	{"/etc/zypp/repos.d/", "repositories of the machine", []string{"init"}},
	{"/usr/lib/rpm/gnupg/keys/", "keys that the machine's RPM trusts", []string{"init"}},
	{"/etc/sysconfig/livepatching", "settings of the administrator", []string{"hook"}},
	{"/usr/lib64/PACKAGE/VERSION/", "containers of an installed live patch package",
		[]string{"hook", "install"}},
	{"/var/livepatches/PACKAGE/",
		"live patches that a transactional update put aside, until the next boot",
		[]string{"hook"}},
	{"/run/lpbuild-hook.lock", "lock that is held while live patches are applied",
		[]string{"hook"}},
	{"/run/lpbuild-hook.unreached",
		"processes that the last run did not begin: the next one begins with them",
		[]string{"hook"}},
	{"/var/log/lpbuild/hook.log", "reports, where there is no journal",
		[]string{"hook", "trigger", "revert"}},
}

// Environment are the variables that commands read.
var Environment = []Mention{
	{"LPBUILD_CACHE", "directory of the store, an absolute path, instead of lpbuild in the " +
		"user's cache directory", []string{"download"}},
	{"HTTPS_PROXY, HTTP_PROXY, NO_PROXY", "proxies for repositories", []string{"download"}},
	{"SSL_CERT_FILE, SSL_CERT_DIR", "certificates of authorities, instead of the system's",
		[]string{"download"}},
	{"LPBUILD_CC_X86_64, LPBUILD_CC_PPC64LE, LPBUILD_CC_AARCH64", "compiler for this architecture",
		[]string{"build", "dist"}},
	{"SOURCE_DATE_EPOCH", "time of the entry, in seconds since 1970, instead of the current one",
		[]string{"init", "changes add"}},
	{"VC_REALNAME, VC_MAILADDR, EMAIL",
		"author of the entry: name and mail address, as osc takes them",
		[]string{"init", "changes add"}},
	{"TRANSACTIONAL_UPDATE", "true: this runs in a transactional update", []string{"hook"}},
	{"LIBPULP_DISABLE_ON_PATH, LIBPULP_DISABLE_ON_USERS, LIBPULP_DISABLE_ON_GROUPS",
		"in the environment of another process: patterns, separated by colons, for its program's " +
			"path and for names or numbers of its real user and group; if one matches, the " +
			"process is not patched",
		[]string{"trigger", "status", "hook", "ulp trigger"}},
	{"NO_COLOR, TERM", "if NO_COLOR is set, or TERM is dumb, output has no colors",
		[]string{"lpbuild", "lpbuild-engine", "ulp trigger", "ulp patches"}},
}

// MentionedFor returns the mentions that belong to a command.
func MentionedFor(all []Mention, cmd *cobra.Command) []Mention {
	words := WordsOf(cmd)
	return slices.DeleteFunc(slices.Clone(all), func(m Mention) bool {
		return !slices.ContainsFunc(m.Commands, func(c string) bool {
			return c == words || strings.HasPrefix(words, c+" ")
		})
	})
}

// Surroundings returns the mentions of a command as sections of its help or man page, below these
// titles.
func Surroundings(cmd *cobra.Command, titles [2]string) string {
	var b strings.Builder
	for i, list := range [2][]Mention{MentionedFor(Environment, cmd), MentionedFor(Files, cmd)} {
		if len(list) > 0 {
			fmt.Fprintf(&b, "\n%s\n", titles[i])
		}
		for _, m := range list {
			fmt.Fprintf(&b, "  %s\n", m.Name)
			for _, line := range wrap(m.Text, HelpWidth-6) {
				fmt.Fprintf(&b, "      %s\n", line)
			}
		}
	}
	return b.String()
}
