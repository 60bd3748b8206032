// Package buildmatrix makes one container for each released build that a live patch is for.
//
// A cell of the matrix is one patch × one build × its architecture. Each cell is expanded,
// compiled, packed and gated: a container leaves this package only if everything that can be known
// about the build says that it will work there. What is refused says why, and does not stop the
// others.
//
// Compiling happens once wherever the compiled code cannot differ; packing happens per build. A
// second run with nothing changed starts no compiler and writes nothing. The package also reads the
// configuration (lpbuild.yaml). It knows nothing of networks and of running processes.
package buildmatrix
