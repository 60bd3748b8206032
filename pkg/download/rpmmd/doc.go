// Package rpmmd reads the metadata of RPM repositories: repomd.xml and primary.xml.
//
// What is asked for is found, or there is an error: a list that ends early, that holds more packages than it says, that
// is not what repomd.xml names, or in which a package could hide behind odd XML is refused. primary.xml, which can have a
// gigabyte, is streamed in constant memory. Locations are paths inside the repository, always. Nothing here fetches
// anything or checks signatures: whoever calls [ParseRepomd] has done so.
package rpmmd

import "errors"

// ErrMalformed says that something is not repository metadata, or is damaged.
var ErrMalformed = errors.New("malformed repository metadata")

// ErrTooLarge says that metadata, or one entry in them, are beyond what is read.
var ErrTooLarge = errors.New("repository metadata are too large")

// ErrLocation says that a location is not a plain path inside the repository.
var ErrLocation = errors.New("not a path inside the repository")

// ErrNoPrimary says that a repository has no list of packages in a form that is read here.
var ErrNoPrimary = errors.New("no readable primary metadata")

// ErrSize says that metadata do not have the size that repomd.xml gives, which means other content as well.
var ErrSize = errors.New("size mismatch")
