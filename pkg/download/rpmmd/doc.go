// Package rpmmd reads the metadata of RPM repositories: repomd.xml and primary.xml.
//
// A lookup finds everything it asks for, or fails. Lists are rejected if they end early, have more
// packages than they announce, differ from what repomd.xml names, or could hide a package behind
// unusual XML. primary.xml, which can have a gigabyte, is streamed in constant memory. Locations
// are always paths inside the repository. This package neither fetches nor checks signatures:
// callers do so before [ParseRepomd].
package rpmmd

import "errors"

// ErrMalformed means that data are not repository metadata, or are damaged.
var ErrMalformed = errors.New("malformed repository metadata")

// ErrTooLarge means that metadata, or one entry in them, exceed the limit.
var ErrTooLarge = errors.New("repository metadata are too large")

// ErrLocation means that a location is not a plain path inside the repository.
var ErrLocation = errors.New("not a path inside the repository")

// ErrNoPrimary means that a repository has no list of packages in a supported compression.
var ErrNoPrimary = errors.New("no readable primary metadata")

// ErrSize means that metadata do not have the size in repomd.xml, and so not the same content.
var ErrSize = errors.New("size mismatch")
