// Package benchtest holds what the benchmarks of several packages share.
package benchtest

import "testing"

// Size returns how much a benchmark works on: full for numbers that mean something, brief under
// -short, where the only question is whether the benchmark still works.
func Size(full, brief int) int {
	if testing.Short() {
		return brief
	}
	return full
}
