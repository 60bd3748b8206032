// Package spec turns a package folder into what rpmbuild and the Open Build Service take: a spec file, a source archive
// and a changes file.
//
// The law it keeps: the same inputs give the same bytes, wherever and whenever they are made. The archive holds all that
// an offline build needs and nothing else. The package compiles nothing and knows no network.
package spec
