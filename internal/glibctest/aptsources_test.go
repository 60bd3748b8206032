package glibctest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAptSources(t *testing.T) {
	tests := map[string]struct {
		files, want map[string]string
	}{
		"one line": {
			files: map[string]string{"sources.list": "# deb http://old/debian bookworm main\r\n" +
				"deb [arch=amd64 signed-by=/k.gpg] http://deb.debian.org/debian bookworm main " +
				"contrib\n" +
				"deb-src http://deb.debian.org/debian bookworm main\n\n deb http://x/security " +
				"bookworm-security main\n"},
			want: map[string]string{"sources.list": "deb-src [arch=amd64 signed-by=/k.gpg] " +
				"http://deb.debian.org/debian bookworm main contrib\n" +
				"deb-src http://x/security bookworm-security main\n"},
		},
		"deb822": {
			files: map[string]string{
				"sources.list": "# nothing here\n",
				"sources.list.d/debian.sources": "Types: deb\nURIs: " +
					"http://deb.debian.org/debian\nSuites: bookworm\n\ntypes: deb deb-src\nURIs: " +
					"http://x\n",
				"sources.list.d/other.list":      "deb http://other stable main\n",
				"sources.list.d/x.list.disabled": "deb http://disabled stable main\n",
			},
			want: map[string]string{
				"debian.sources": "Types: deb-src\nURIs: http://deb.debian.org/debian\nSuites: " +
					"bookworm\n\nTypes: deb-src\nURIs: http://x\n",
				"other.list": "deb-src http://other stable main\n",
			},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			etc := t.TempDir()
			for file, text := range tc.files {
				file = filepath.Join(etc, file)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := aptSources(etc)
			if d := cmp.Diff(tc.want, got); err != nil || d != "" {
				t.Errorf("aptSources: %v (-want +got):\n%s", err, d)
			}
		})
	}
}

func TestAptSourcesNone(t *testing.T) {
	if got, err := aptSources(t.TempDir()); err == nil ||
		!strings.Contains(err.Error(), "Debian's source package") {
		t.Errorf("aptSources of an empty directory = %v, %v", got, err)
	}
}
