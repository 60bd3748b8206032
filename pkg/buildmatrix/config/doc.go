// Package config reads lpbuild.yaml, the description of a live patch package, and describes its
// keys for the reference, the man page and editors.
//
// [Load] returns the errors of all lines at once, each with its place. Nothing is downloaded,
// compiled or written.
package config
