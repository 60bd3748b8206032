package store_test

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/store"
)

// TestPutLeavesWhatIsThere puts one content many times at once. Open files stay the same, and
// nothing else is left.
func TestPutLeavesWhatIsThere(t *testing.T) {
	st, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("content "), 10_000)
	d := digest.OfBytes(content)
	if _, err := st.Put(t.Context(), d, bytes.NewReader(content), 1<<20); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(st.Path(d))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := st.Put(t.Context(), digest.Digest{}, bytes.NewReader(content),
				1<<20); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	after, err := os.Stat(st.Path(d))
	if err != nil || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Errorf("the file was replaced: %v, %v (%v)", before, after, err)
	}
	for _, dir := range []string{"tmp", "parts"} {
		if left, _ := filepath.Glob(filepath.Join(st.Dir(), dir, "*")); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}
