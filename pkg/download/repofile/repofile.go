// Package repofile reads the .repo files that zypper and dnf keep in /etc/zypp/repos.d and
// /etc/yum.repos.d, and the credentials files beside them in /etc/zypp/credentials.d.
//
// [Parse] is as lenient as those programs about syntax, and strict about meaning: an enabled
// repository that lpbuild cannot read is an error with its position, and is never silently dropped.
// Values keep their variables until [Repo.Expand] replaces them. The secret parts of a URL, user
// info and query, are hidden wherever a [Repo] or an error is printed. This package fetches and
// writes nothing.
package repofile

import (
	"fmt"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/download/fetch"
)

// Repo is one repository. Its URLs may contain secrets: print it with its String method, or the
// URLs through [fetch.Redact].
type Repo struct {
	Alias string // the section's name
	Name  string // for display; the alias if the file has none
	// the first of BaseURLs; empty if there are only mirrors, or if it is not enabled
	BaseURL     string
	BaseURLs    []string // http, https or file URLs, or absolute paths, without zypper's parameters
	MirrorList  string   // URL of a list of further URLs; "" if none
	Metalink    string   // the same as a metalink file
	Enabled     bool     // true if not in the file
	GPGCheck    bool     // true if not in the file
	GPGKeys     []string // locations of public keys
	Credentials string   // name of a file for [ReadCredentials]; "" if none
	User        string   // from the file itself, as dnf allows
	Password    string
	Type        string // as in the file, in lower case; often empty
	Pos         diag.Pos
}

// String returns the alias and the first URL, with secrets hidden.
func (r Repo) String() string { return fmt.Sprintf("%s (%s)", r.Alias, fetch.Redact(r.BaseURL)) }

// GoString hides the secrets from %#v.
func (r Repo) GoString() string { return "repofile.Repo(" + r.String() + ")" }

// UnsupportedError means that lpbuild cannot read a kind of repository.
type UnsupportedError struct {
	Alias string // of the repository
	What  string // the unsupported part, for example `"plugin" URL`
}

// Error returns the unsupported part.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("repository %s: %s is not supported", e.Alias, e.What)
}

// VariableError means that a value contains a variable without a value.
type VariableError struct {
	Alias string // of the repository
	Name  string // of the variable, without the $
}

// Error returns the variable's name.
func (e *VariableError) Error() string {
	return fmt.Sprintf("repository %s: no value for the variable $%s", e.Alias, e.Name)
}
