// Package buildmatrix makes one container for each released build that a live patch is for.
//
// A cell of the matrix is one patch × one build × its architecture. Each cell is expanded, compiled
// (package compile), checked (package gate) and packed: a container leaves this package only if
// everything that can be known about the build says that it will work there. What is rejected is
// reported with its reasons, and does not stop the others.
//
//	lpbuild.yaml ─ config ─► Cells ─► expand ─► compile ─► gate ─► pack ─► Report
//
// Sources are compiled once wherever the compiled code cannot differ, and packed once per build. A
// second run with nothing changed starts no compiler and writes nothing. The package knows nothing
// of networks and of running processes.
package buildmatrix
