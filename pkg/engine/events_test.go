package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// TestTooManyEvents: a list of uprobes that is not read to its end is not taken for the whole.
func TestTooManyEvents(t *testing.T) {
	line := func(i int) string {
		return fmt.Sprintf("p:group/event%d /proc/self/exe:0x%08x\n", i, i)
	}
	var b strings.Builder
	for i := range maxEvents {
		b.WriteString(line(i))
	}
	list, err := parseEvents(strings.NewReader(b.String()))
	if err != nil || len(list) != maxEvents {
		t.Errorf("%d events, %v", len(list), err)
	}
	b.WriteString(line(maxEvents))
	if list, err := parseEvents(strings.NewReader(b.String())); !errors.Is(err, process.ErrLimit) ||
		len(list) != maxEvents {
		t.Errorf("one more: %d events, %v", len(list), err)
	}
	long := strings.Repeat("p:group/event /nowhere:0x10"+strings.Repeat(" ", 4000)+"\n",
		maxEventBytes/4000)
	if _, err := parseEvents(strings.NewReader(long)); !errors.Is(err, process.ErrLimit) {
		t.Errorf("a long list: %v", err)
	}
}
