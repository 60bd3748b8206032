package process

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// addText adds the mappings of lines as in /proc/PID/maps.
func (k *keeper) addText(lines ...string) error {
	text := strings.NewReader(strings.Join(lines, "\n") + "\n")
	return procfs.EachMapping(text, func(l *procfs.Mapping) error { return k.add(mappingOf(l)) })
}

// A process may map any number of files that are no programs, but not of programs.
func TestKeeper(t *testing.T) {
	add := func(k *keeper, perm string, n int) error {
		for i := range n {
			l := fmt.Sprintf("%x-%x %s 00000000 fe:00 %d /data/file-%d", 0x1000*(i+1), 0x1000*(i+2),
				perm, i+1, i)
			if err := k.addText(l); err != nil {
				return err
			}
		}
		return nil
	}
	var data, code keeper
	if err := add(&data, "r--s", 300_000); err != nil || len(data.list) > maxMappings {
		t.Errorf("data: %v, %d kept", err, len(data.list))
	}
	if err := add(&code, "r-xp", 20_000); !errors.Is(err, ErrLimit) ||
		len(code.list) > maxMappings {
		t.Errorf("code: %v, %d kept", err, len(code.list))
	}
}
