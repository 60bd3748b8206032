// Package spec converts a package directory to the input of rpmbuild and the Open Build Service: a
// spec file, a source archive and a changes file.
//
// The same inputs give the same bytes, wherever and whenever they are made. The archive holds
// exactly what an offline build needs. This package compiles nothing and does not use the network.
package spec
