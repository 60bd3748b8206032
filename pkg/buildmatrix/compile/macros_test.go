package compile

import (
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/download"
)

func TestVersionMacros(t *testing.T) {
	for version, want := range map[string]string{
		"2.31": `-DLPBUILD_VERSION="2.31" -DLPBUILD_RELEASE="1" ` +
			`-DLPBUILD_VERSION_MAJOR=2 -DLPBUILD_VERSION_MINOR=31 -DLPBUILD_VERSION_PATCH=0`,
		"3.0.8": `-DLPBUILD_VERSION="3.0.8" -DLPBUILD_RELEASE="1" ` +
			`-DLPBUILD_VERSION_MAJOR=3 -DLPBUILD_VERSION_MINOR=0 -DLPBUILD_VERSION_PATCH=8`,
		"7": `-DLPBUILD_VERSION="7" -DLPBUILD_RELEASE="1" -DLPBUILD_VERSION_MAJOR=7 ` +
			`-DLPBUILD_VERSION_MINOR=0 -DLPBUILD_VERSION_PATCH=0`,
		"1.1~rc2^git3.x": `-DLPBUILD_VERSION="1.1~rc2^git3.x" -DLPBUILD_RELEASE="1" ` +
			`-DLPBUILD_VERSION_MAJOR=1 -DLPBUILD_VERSION_MINOR=1 -DLPBUILD_VERSION_PATCH=2`,
	} {
		b := &download.Build{Name: "glibc-locale-base", Source: "toy", Version: version,
			Release: "1"}
		if got := strings.Join(versionMacros(b), " "); got != want {
			t.Errorf("macros of %s are\n%s, want\n%s", version, got, want)
		}
		b.Source = "glibc"
		if got := strings.Join(versionMacros(b), " "); !strings.HasPrefix(got,
			want+" -DLPBUILD_LIBC_MAJOR=") {
			t.Errorf("macros of the C library's %s are %s", version, got)
		}
	}
}

func TestAsksForBuild(t *testing.T) {
	for text, want := range map[string]bool{
		"#define LPBUILD_RELEASE \"1\"\n": true, "#undef LPBUILD_VERSION_MAJOR\n": true,
		"#define LPBUILD_LIBC_MINOR 3\n": true,
		"int x; /* LPBUILD_RELEASE */\n": false, "#define OTHER LPBUILD_RELEASE\n": false,
		"": false,
	} {
		if got := asksForBuild([]byte(text)); got != want {
			t.Errorf("asksForBuild(%q) = %t", text, got)
		}
	}
}
