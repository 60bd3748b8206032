// Package templates holds the texts that lpbuild writes: the spec file of a live patch package and
// the files of a new package directory. It contains no code; pkg/spec and pkg/scaffold execute
// them.
package templates

import "embed"

// FS has *.tmpl for text/template, and the scaffold of a package directory.
//
//go:embed *.tmpl scaffold
var FS embed.FS
