package download

import (
	"testing"

	"github.com/lpbuild/lpbuild/pkg/rpmver"
)

func TestHome(t *testing.T) {
	tests := map[string]struct{ source, version, library, want string }{
		"before":  {"glibc", "2.33", "libpthread.so.0", "libpthread.so.0"},
		"since":   {"glibc", "2.34", "libpthread.so.0", "libc.so.6"},
		"by path": {"glibc", "2.38", "/lib64/librt.so.1", "/lib64/libc.so.6"},
		"in a variant": {"glibc", "2.38", "/lib64/glibc-hwcaps/power9/libdl.so.2",
			"/lib64/glibc-hwcaps/power9/libc.so.6"},
		"not merged": {"glibc", "2.38", "libm.so.6", "libm.so.6"},
		"gconv module": {"glibc", "2.38", "/usr/lib64/gconv/ISO-2022-CN-EXT.so",
			"/usr/lib64/gconv/ISO-2022-CN-EXT.so"},
		"another source": {"musl", "2.38", "libpthread.so.0", "libpthread.so.0"},
	}
	for name, tc := range tests {
		if got := Home(tc.source, rpmver.EVR{Version: tc.version, Release: "1"},
			tc.library); got != tc.want {
			t.Errorf("%s: Home of %s in %s %s is %s, want %s", name, tc.library, tc.source,
				tc.version, got, tc.want)
		}
	}
}
