package download

import "testing"

func TestSourceName(t *testing.T) {
	for file, want := range map[string]string{
		"glibc-2.31-150300.26.5.src.rpm": "glibc", "a-b-c-1-2.nosrc.rpm": "a-b-c", "glibc": "",
		"-1-2.src.rpm": "", "": "",
	} {
		if got := sourceName(file); got != want {
			t.Errorf("sourceName(%q) = %q, want %q", file, got, want)
		}
	}
}
