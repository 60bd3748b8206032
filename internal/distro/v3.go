package distro

import (
	"errors"
	"os"
	"os/exec"
)

// ErrNoGPG1 means that no program on this machine makes OpenPGP version 3 signatures.
var ErrNoGPG1 = errors.New("this distribution has no gpg1, which makes OpenPGP version 3 " +
	"signatures")

// debianVersion is a file that Debian and its derivatives have.
const debianVersion = "/etc/debian_version"

// CanSignV3 returns [ErrNoGPG1] on a distribution without gpg1, such as SUSE's. Where gpg1 can be
// installed, it returns nil, and newKey says how to install a missing one.
func CanSignV3() error {
	if _, err := exec.LookPath("gpg1"); err == nil {
		return nil
	}
	if _, err := os.Stat(debianVersion); err == nil {
		return nil
	}
	return ErrNoGPG1
}
