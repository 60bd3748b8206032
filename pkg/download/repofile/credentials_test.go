package repofile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/download/repofile"
)

func TestReadCredentials(t *testing.T) {
	tests := map[string]struct{ text, user, password string }{
		"SUSEConnect": {"username=SCC_0123\npassword=s3cret\n", "SCC_0123", "s3cret"},
		"spaces, comment": {"# machine\n\n username = me \r\n password\t= a=b #c \r\n", "me",
			"a=b #c"},
		"other keys": {"[x]\nsystem_token=t\npassword=p\nusername=u", "u", "p"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, "SCC credentials"), tc.text)
			if err := os.Symlink("SCC credentials",
				filepath.Join(dir, "NCCcredentials")); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{"SCC credentials", "NCCcredentials"} {
				user, password, err := repofile.ReadCredentials(dir, file)
				if user != tc.user || password != tc.password || err != nil {
					t.Errorf("ReadCredentials(%s) = %q, %q, %v", file, user, password, err)
				}
			}
		})
	}
}

func TestReadCredentialsErrors(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "empty"), "")
	writeFile(t, filepath.Join(dir, "half"), "username=me\ns3cret\n")
	writeFile(t, filepath.Join(dir, "large"), strings.Repeat("password=s3cret\n", 5000))
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"empty":                  dir + "/empty: it needs the lines username=",
		"half":                   dir + "/half: it needs the lines username=",
		"large":                  "has 80000 bytes, more than the limit of 65536",
		"fifo":                   "not a regular file",
		"directory":              "not a regular file",
		"":                       "give its name without a directory",
		"..":                     "give its name without a directory",
		"../passwd":              "give its name without a directory",
		"/etc/passwd":            "give its name without a directory",
		"a\x00b":                 "give its name without a directory",
		strings.Repeat("x", 300): "give its name without a directory",
	} {
		user, password, err := repofile.ReadCredentials(dir, name)
		if err == nil || user != "" || password != "" || !strings.Contains(err.Error(), want) {
			t.Errorf("ReadCredentials(%.20q) = %q, %q, %v", name, user, password, err)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("error shows the password: %v", err)
		}
	}
	if _, _, err := repofile.ReadCredentials(dir, "missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
