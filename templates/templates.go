// Package templates holds the texts that lpbuild writes out: the spec file of a live patch package and the files of a new
// package folder. It holds no code; who fills them in is pkg/spec and pkg/scaffold.
package templates

import "embed"

// FS has *.tmpl for text/template, and the scaffold of a package folder.
//
//go:embed *.tmpl scaffold
var FS embed.FS
