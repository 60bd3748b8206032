// Package repofile reads the .repo files that zypper and dnf keep in /etc/zypp/repos.d and /etc/yum.repos.d, and the
// user and password files beside them in /etc/zypp/credentials.d.
//
// [Parse] is as lenient as those programs about how a file is written, and strict about what it means: a repository that
// is switched on and that cannot be read from here is an error with its place, never left out in silence. Values keep
// their variables until [Repo.Expand] replaces them. What would be secret in a URL, user info and query, is hidden
// wherever a [Repo] or an error is printed. Nothing is fetched or written here.
package repofile

import (
	"fmt"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/download/fetch"
)

// Repo is one repository. Its URLs may hold secrets: print it with its String method, or the URLs through
// [fetch.Redact].
type Repo struct {
	Alias       string   // the section's name
	Name        string   // for people; the alias if the file has none
	BaseURL     string   // the first of BaseURLs; empty if there are only mirrors, or if it is not enabled
	BaseURLs    []string // http, https or file URLs, or absolute paths; parameters for zypper are taken off
	MirrorList  string   // URL of a list of more of them; empty: none
	Metalink    string   // the same in the form of a metalink file
	Enabled     bool     // true if the file does not say
	GPGCheck    bool     // true if the file does not say
	GPGKeys     []string // places of public keys
	Credentials string   // name of a file for [ReadCredentials]; empty: none
	User        string   // given in the file itself, as dnf allows
	Password    string
	Type        string // as in the file, in lower case; often empty
	Pos         diag.Pos
}

// String returns the alias and the first URL, with its secrets hidden.
func (r Repo) String() string { return fmt.Sprintf("%s (%s)", r.Alias, fetch.Redact(r.BaseURL)) }

// GoString hides the secrets from %#v.
func (r Repo) GoString() string { return "repofile.Repo(" + r.String() + ")" }

// UnsupportedError says that a repository is of a kind that cannot be read from.
type UnsupportedError struct {
	Alias string // of the repository
	What  string // cannot be read, for example `"plugin" URL`
}

// Error returns what is not supported.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("repository %s: %s is not supported", e.Alias, e.What)
}

// VariableError says that a value names a variable that nobody gave.
type VariableError struct {
	Alias string // of the repository
	Name  string // of the variable, without the $
}

// Error returns the variable's name.
func (e *VariableError) Error() string {
	return fmt.Sprintf("repository %s: no value for the variable $%s", e.Alias, e.Name)
}
