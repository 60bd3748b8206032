package symtab_test

import (
	"testing"

	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

func TestSplitNumber(t *testing.T) {
	for version, want := range map[string][2]string{
		"GLIBC_2.34": {"GLIBC", "2.34"}, "GLIBC_PRIVATE": {"GLIBC_PRIVATE", ""},
		"OPENSSL_1_1_0": {"OPENSSL_1_1", "0"}, "X": {"X", ""}, "Y_": {"Y_", ""},
	} {
		if series, number := symtab.SplitNumber(version); series != want[0] || number != want[1] {
			t.Errorf("symtab.SplitNumber(%q) = %q, %q; want %q", version, series, number, want)
		}
	}
}
