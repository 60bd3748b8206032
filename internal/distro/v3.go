package distro

import (
	"errors"
	"os"
	"os/exec"
)

// ErrNoGPG1 says that nothing here makes OpenPGP version 3 signatures.
var ErrNoGPG1 = errors.New("this distribution has no gpg1, which makes OpenPGP version 3 signatures")

// debianVersion is a file that Debian and its children have.
const debianVersion = "/etc/debian_version"

// CanSignV3 returns [ErrNoGPG1] on a distribution without gpg1, such as SUSE's. Where it can be installed a missing one is
// no excuse: then there is no error here, but from [NewKey], which says how to install it.
func CanSignV3() error {
	if _, err := exec.LookPath("gpg1"); err == nil {
		return nil
	}
	if _, err := os.Stat(debianVersion); err == nil {
		return nil
	}
	return ErrNoGPG1
}
