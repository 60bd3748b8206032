package pgp_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/download/pgp"
)

func ExampleKeyring_Verify() {
	var keys pgp.Keyring // nothing is pinned yet
	_, err := keys.Verify(nil, strings.NewReader("<repomd/>"), pgp.Policy{})
	fmt.Println(err)
	fmt.Println(errors.Is(err, pgp.ErrNoSignature), errors.Is(err, pgp.ErrBadSignature))
	// Output:
	// bad signature: there is none
	// true true
}
