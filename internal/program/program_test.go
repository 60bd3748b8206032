package program

import "testing"

// TestLine wants what the linker was told, for a person and for a program.
func TestLine(t *testing.T) {
	defer func(n, v, c string) { name, version, commit = n, v, c }(name, version, commit)
	SetName("lpbuild-engine")
	version, commit = "1.2", "0123456789abcdef"
	if got, want := Line(), "lpbuild-engine 1.2 (commit 0123456789ab)"; got != want {
		t.Errorf("Line() = %q, want %q", got, want)
	}
	if got := Info(); got["version"] != version || got["commit"] != commit {
		t.Errorf("Info() = %v, want version %s and commit %s", got, version, commit)
	}
	const text = "lpbuild status, after lpbuild build"
	if got, want := Text(text), "lpbuild-engine status, after lpbuild build"; got != want {
		t.Errorf("Text(%q) = %q, want %q", text, got, want)
	}
	SetName("lpbuild")
	if got := Text(text); got != text {
		t.Errorf("Text(%q) = %q in lpbuild", text, got)
	}
}
