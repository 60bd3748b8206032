package hook

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/atomicfile"
)

// selinuxLabel is the attribute with a file's SELinux label, and maxLabel bounds it.
const (
	selinuxLabel = "security.selinux"
	maxLabel     = 4 << 10
)

// copyTo writes a copy with the label of another file.
func copyTo(name string, image []byte, label string) error {
	if err := atomicfile.Write(name, image, 0o755); err != nil {
		return err
	}
	return sameLabel(label, name)
}

// sameLabel gives a copy the label of its original. Files under /var get one from which confined
// services may not map code: a libpulp.so there could not load a live patch, and with a library no
// such service would start any more.
func sameLabel(from, to string) error {
	label := make([]byte, maxLabel)
	n, err := unix.Getxattr(from, selinuxLabel, label) // a library may be a link
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) || err == nil && n == 0 {
		return nil // no SELinux
	}
	if err != nil {
		return fmt.Errorf("%s: cannot read its SELinux label: %w", from, err)
	}
	if err := unix.Lsetxattr(to, selinuxLabel, label[:n], 0); err != nil {
		return fmt.Errorf("%s: cannot set the SELinux label %.100q: %w", to, label[:n], err)
	}
	return nil
}
