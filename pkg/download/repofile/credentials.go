package repofile

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/lpbuild/lpbuild/internal/regularfile"
)

// CredentialsDir is the directory in which zypper and SUSEConnect keep credentials.
const CredentialsDir = "/etc/zypp/credentials.d" //nolint:gosec // a place, not a secret

// maxCredentials is the maximum size of a credentials file in bytes.
const maxCredentials = 64 << 10

// ReadCredentials returns the user and password from the file name in dir, usually
// [CredentialsDir]. name must be a base name, since it comes from a .repo file. Errors show nothing
// of the file's content; that of a missing file wraps fs.ErrNotExist.
func ReadCredentials(dir, name string) (user, password string, err error) {
	if err := checkName(name); err != nil {
		return "", "", err
	}
	full := filepath.Join(dir, name)
	data, err := regularfile.Read(full, maxCredentials)
	if errors.Is(err, regularfile.ErrIrregular) {
		return "", "", fmt.Errorf("credentials file %s: not a regular file", full)
	}
	if err != nil {
		return "", "", fmt.Errorf("credentials: %w", err)
	}
	if user, password, err = parseCredentials(data); err != nil {
		return "", "", fmt.Errorf("credentials: %s: %w", full, err)
	}
	return user, password, nil
}

// checkName returns an error unless name can only be a file in the credentials directory.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || len(name) > 255 ||
		strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("credentials file %.80q: give its name without a directory", name)
	}
	return nil
}

// parseCredentials parses lines of username=… and password=…; everything after the first = belongs
// to the value.
func parseCredentials(data []byte) (user, password string, err error) {
	if len(data) > maxCredentials {
		return "", "", fmt.Errorf("more than %d bytes", maxCredentials)
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' || line[0] == '[' {
			continue
		}
		key, val, _ := strings.Cut(line, "=")
		switch val = strings.TrimSpace(val); strings.TrimSpace(key) {
		case "username":
			user = val
		case "password":
			password = val
		}
	}
	if user == "" || password == "" {
		return "", "", errors.New("it needs the lines username=… and password=…")
	}
	return user, password, nil
}
