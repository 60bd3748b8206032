package distro

import (
	"fmt"
	"testing"

	"github.com/lpbuild/lpbuild/internal/benchtest"
)

// BenchmarkMakeRPMs builds five glibcs with debuginfo in each iteration, without the cache.
func BenchmarkMakeRPMs(b *testing.B) {
	for b.Loop() {
		if _, _, err := makeRPMs(b.Context(), b.TempDir(), StandardBuilds(5)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStandardRepository makes signed repositories of cached builds.
func BenchmarkStandardRepository(b *testing.B) {
	for _, n := range []int{5, benchtest.Size(40, 6)} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if _, err := StandardRepository(b.Context(), fmt.Sprintf("%s/%d", b.TempDir(), i),
					StandardOptions{Builds: n}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
