package glibctest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNoDebian(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	s, err := cachedSource(t.Context(), t.Logf)
	if !errors.Is(err, errUnsupported) ||
		!strings.Contains(err.Error(), "Debian's source package") {
		t.Errorf("cachedSource without apt-get = %v, %v", s, err)
	}
}

func TestReadSource(t *testing.T) {
	tests := map[string]struct {
		files   map[string]string
		want    sourcePackage
		wantErr string
	}{
		"bookworm": {files: map[string]string{"glibc_2.36-9+deb12u14.dsc": "Format: 3.0 " +
			"(quilt)\nSource: glibc\nVersion: 2.36-9+deb12u14\nFiles:\n"},
			want: sourcePackage{Version: "2.36", Debian: "2.36-9+deb12u14"}},
		"none": {wantErr: "0 .dsc files"},
		"two": {files: map[string]string{"glibc_2.36-9.dsc": "", "glibc_2.41-1.dsc": ""},
			wantErr: "2 .dsc files"},
		"no version": {files: map[string]string{"glibc_2.36-9.dsc": "Source: glibc\n"},
			wantErr: "no version of glibc"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range tc.files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := readSource(dir)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("readSource = %v, %v; want %q", got, err, tc.wantErr)
				}
				return
			}
			if err != nil || got.Version != tc.want.Version || got.Debian != tc.want.Debian ||
				filepath.Dir(got.Description) != dir {
				t.Errorf("readSource = %+v, %v; want %+v", got, err, tc.want)
			}
		})
	}
}
