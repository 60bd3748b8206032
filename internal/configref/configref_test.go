package configref

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/diag"
)

func keys(t *testing.T) []config.Key {
	t.Helper()
	all, err := config.Keys()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// parse reads a configuration in a package directory that has the files of the example.
func parse(t *testing.T, text string) (*config.Config, error) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"keys/vendor.asc", "libc_livepatch1.in", "libc_livepatch1.c",
		"test.c"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755),
			os.WriteFile(path, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return config.Parse(filepath.Join(dir, config.FileName), []byte(text))
}

// document writes a configuration that has, at the path of a mapping, only the given lines.
func document(path, lines string) string {
	indent, text := "", ""
	for element := range strings.SplitSeq(path, ".") {
		if element == "" {
			break
		}
		name, isList := strings.CutSuffix(element, "[]")
		text += indent + name + ":\n"
		if isList {
			indent += "    "
			text += strings.TrimSuffix(indent, "  ") + "-\n"
		} else {
			indent += "  "
		}
	}
	for line := range strings.Lines(lines) {
		text += indent + line
	}
	return text
}

// mappings calls f for each mapping that lpbuild.yaml has, with the path of its keys without their
// names.
func mappings(path string, keys []config.Key, f func(path string, keys []config.Key)) {
	f(path, keys)
	for _, k := range keys {
		suffix := map[bool]string{true: "[]", false: ""}[k.Form == config.MappingList]
		if len(k.Keys) > 0 {
			mappings(strings.TrimPrefix(path+"."+k.Name+suffix, "."), k.Keys, f)
		}
	}
}

// TestKeysAreDecoded wants the keys of each mapping to be those that the decoder lists for an
// unknown one, and those required that it misses.
func TestKeysAreDecoded(t *testing.T) {
	count := 0
	mappings("", keys(t), func(path string, keys []config.Key) {
		count++
		_, err := parse(t, document(path, "zzzzzzzzzzzzzzzz: x\n"))
		var known, required []string
		for _, k := range keys {
			if known = append(known, k.Name); k.Required {
				required = append(required, k.Name)
			}
			if strings.TrimPrefix(path+"."+k.Name, ".") != k.Path {
				t.Errorf("%s: the path is %s", k.Path, path+"."+k.Name)
			}
		}
		slices.Sort(known)
		text := diag.Render(err, false)
		if want := "known here: " + strings.Join(known, ", ") +
			"\n"; !strings.Contains(text+"\n", want) {
			t.Errorf("%q: the decoder does not say %q:\n%s", path, want, text)
		}
		for _, name := range required {
			if !strings.Contains(text, fmt.Sprintf("key %q is missing", name)) {
				t.Errorf("%q: the decoder does not miss %s:\n%s", path, name, text)
			}
		}
	})
	if count != 8 {
		t.Errorf("there are %d mappings, want 8: lpbuild.yaml, repository, package, patch, obs, "+
			"and three reasons", count)
	}
}

// TestExampleIsRead wants the example to be a configuration as it stands, and with each of its
// comments.
func TestExampleIsRead(t *testing.T) {
	text := Example(keys(t))
	c, err := parse(t, text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if c.Engine != "system" || c.Entries != "nops" || c.Patches[0].Unwinding != "any" ||
		c.Repositories[0].Unsigned {
		t.Errorf("the defaults are %+v", c)
	}
	comment := regexp.MustCompile(`(?m)^( *)# (.*)$`)
	for _, at := range comment.FindAllStringSubmatchIndex(text, -1) {
		with := text[:at[3]] + text[at[4]:]
		if strings.Contains(text[at[4]:at[5]], "unsigned") {
			with = strings.Replace(with, "    keys: [keys/vendor.asc]\n", "", 1)
		}
		if _, err := parse(t, with); err != nil {
			t.Errorf("%v\n%s", err, with)
		}
	}
	mappings("", keys(t), func(_ string, keys []config.Key) {
		for _, k := range keys {
			if !strings.Contains(text, k.Name+":") && k.Name != "accept" || k.Example == "" &&
				len(k.Keys) == 0 && k.Name != "accept" {
				t.Errorf("%s is not in the example", k.Path)
			}
		}
	})
}

// TestValuesAreDecoded wants each value that the reference lists to be accepted, and no other.
func TestValuesAreDecoded(t *testing.T) {
	all := keys(t)
	mappings("", all, func(_ string, keys []config.Key) {
		for _, k := range keys {
			for _, value := range append(slices.Clone(k.Values), "zzz") {
				if len(k.Values) == 0 {
					break
				}
				if k.Form == config.TextList {
					value = "[" + value + "]"
				}
				line := regexp.MustCompile(`(?m)(^ *)(?:# )?` + k.Name + `: .*$`)
				text := line.ReplaceAllString(Example(all), "${1}"+k.Name+": "+value)
				_, err := parse(t, text)
				if wrong := strings.Contains(value, "zzz"); (err != nil) != wrong {
					t.Errorf("%s: %s: %v", k.Path, value, err)
				}
			}
		}
	})
}

// TestReferenceIsUpToDate wants docs/lpbuild.yaml.md to be what would be written.
func TestReferenceIsUpToDate(t *testing.T) {
	stored, err := os.ReadFile("../../docs/lpbuild.yaml.md")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(stored), string(Markdown(keys(t)))); d != "" {
		t.Errorf("docs/lpbuild.yaml.md is not what the structs say (-stored +now): run \"go run "+
			"./cmd/lpbuild generate --docs docs\"\n%s", d)
	}
}
