package engine

import (
	"context"
	"slices"
	"sync"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
)

// memory is what one survey remembers from process to process.
type memory struct {
	nops   nopCache
	stock  stockCache
	labels sync.Map // of []string by labelKey

	events    []event // uprobes
	eventsErr error
}

// labelKey has the user, since what one user's processes show must not decide about another's.
type labelKey struct {
	id  [32]byte
	uid uint32
}

// label adds the labels to live patches. Where they cannot be read there are none.
func (m *memory) label(ctx context.Context, t Target, uid uint32, list []Applied) {
	for i := range list {
		key := labelKey{list[i].ID, uid}
		if known, ok := m.labels.Load(key); ok {
			list[i].Labels = known.([]string)
			continue
		}
		text, err := t.Comments(ctx, &list[i])
		if err != nil {
			continue
		}
		list[i].Labels = Labels(text)
		m.labels.Store(key, list[i].Labels)
	}
}

// labelForm is what a bug or a vulnerability is called.
var labelForm = lazyregexp.New(`(?i)(?:bsc#[0-9]+|jsc#[a-z]+-[0-9]+|cve-[0-9]+-[0-9]+)`)

// maxLabels bounds how many labels of one live patch are shown.
const maxLabels = 100

// Labels returns the numbers of bugs and vulnerabilities in a comment (bsc#1, jsc#SLE-1,
// CVE-2024-1), each once, in order.
func Labels(comment string) []string {
	var list []string
	for _, label := range labelForm().FindAllString(comment, -1) {
		if !slices.Contains(list, label) {
			list = append(list, label)
		}
		if len(list) == maxLabels {
			break
		}
	}
	return list
}
