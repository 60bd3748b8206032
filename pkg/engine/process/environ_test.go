package process

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/lpbuild/lpbuild/pkg/engine/internal/forged"
)

// TestReadVariables reads what a program has in the place of variables, be it what it may.
func TestReadVariables(t *testing.T) {
	const at = 0x1000
	for name, tc := range map[string]struct {
		text    string
		want    map[string]string
		wantErr error
	}{
		"wanted":  {"A=1\x00", map[string]string{"A": "1"}, nil},
		"another": {"AB=1\x00", map[string]string{}, nil},
		"no NUL":  {"A=1", map[string]string{}, ErrUnreadable},
		"long": {"A=" + strings.Repeat("x", 1000) + "\x00",
			map[string]string{"A": strings.Repeat("x", 1000)}, nil},
		"too long": {"A=" + strings.Repeat("x", maxVariable+1) + "\x00", map[string]string{},
			ErrLimit},
		"another long": {"B=" + strings.Repeat("x", maxVariable+1) + "\x00", map[string]string{},
			nil},
	} {
		found := map[string]string{}
		err := readVariable(forged.Memory{at: []byte(tc.text)}, at, []string{"A"}, found)
		if d := cmp.Diff(tc.want, found); d != "" || !errors.Is(err, tc.wantErr) {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, d)
		}
	}
	twice := map[string]string{"A": "first"}
	if err := readVariable(forged.Memory{at: []byte("A=2\x00")}, at, []string{"A"},
		twice); err != nil || twice["A"] != "first" {
		t.Errorf("%v, %v", twice, err)
	}
	if p, err := readPointer(forged.Memory{at: binary.LittleEndian.AppendUint64(nil, 7)},
		at); p != 7 || err != nil {
		t.Errorf("%d, %v", p, err)
	}
}
