package digest

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestNew(t *testing.T) {
	tests := map[string]struct {
		algorithm, value string
		want             string // "": an error
		err              error
	}{
		"SHA-256":       {"sha256", emptySHA256, "sha256:" + emptySHA256, nil},
		"upper case":    {"SHA256", strings.ToUpper(emptySHA256), "sha256:" + emptySHA256, nil},
		"blanks around": {" sha256\n", "\t" + emptySHA256 + " ", "sha256:" + emptySHA256, nil},
		"SHA-512": {"sha512", strings.Repeat("ab", 64), "sha512:" +
			strings.Repeat("ab", 64), nil},
		"SHA-384": {"sha384", strings.Repeat("0", 96), "sha384:" + strings.Repeat("0", 96),
			nil},
		"SHA-1":           {"sha", strings.Repeat("ab", 20), "", ErrWeak},
		"SHA-1, its name": {"sha1", strings.Repeat("ab", 20), "", ErrWeak},
		"MD5":             {"md5", strings.Repeat("ab", 16), "", ErrWeak},
		"too short":       {"sha256", "ab", "", nil},
		"not hex":         {"sha256", strings.Repeat("xy", 32), "", nil},
		"path": {"sha256",
			"../../../../../../../../../../../../../../../../../../etc/passwd1", "", nil},
	}
	for name, tc := range tests {
		d, err := New(tc.algorithm, tc.value)
		if tc.want == "" {
			if err == nil || !d.IsZero() || tc.err != nil && !errors.Is(err, tc.err) {
				t.Errorf("%s: %v, %v", name, d, err)
			}
			continue
		}
		if err != nil || d.String() != tc.want {
			t.Errorf("%s: %v, %v; want %s", name, d, err, tc.want)
		}
		if again, err := Parse(d.String()); err != nil || again != d {
			t.Errorf("%s: parsed again: %v, %v", name, again, err)
		}
	}
	if _, err := Parse(emptySHA256); err == nil {
		t.Error("a digest without an algorithm was accepted")
	}
}

func TestCheck(t *testing.T) {
	d := OfBytes([]byte("content"))
	h := d.Hash()
	h.Write([]byte("content"))
	if err := d.Check(h.Sum(nil)); err != nil {
		t.Error(err)
	}
	h.Write([]byte("!"))
	if err := d.Check(h.Sum(nil)); !errors.Is(err, ErrMismatch) {
		t.Errorf("error is %v, want ErrMismatch", err)
	}
}

func TestOf(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := OfFile(name)
	if err != nil || d != OfBytes(nil) || d.Hex != emptySHA256 {
		t.Errorf("digest of nothing is %v, %v", d, err)
	}
}

func TestJSON(t *testing.T) {
	type file struct{ Digest, None Digest }
	want := file{Digest: OfBytes([]byte("x"))}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got file
	if err := json.Unmarshal(data, &got); err != nil || got != want {
		t.Errorf("%s became %v, %v", data, got, err)
	}
	if err := json.Unmarshal([]byte(`{"Digest":"md5:00"}`), &got); err == nil {
		t.Error("a weak digest was accepted")
	}
}
