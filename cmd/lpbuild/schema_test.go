package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"text/template"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/lpbuild/lpbuild/internal/configref"
	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/scaffold"
)

// readSchema compiles what "lpbuild schema" prints.
func readSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	var out bytes.Buffer
	if code := run([]string{"schema"}, &console.Console{Out: &out, Err: io.Discard}); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	doc, err := jsonschema.UnmarshalJSON(&out)
	check(t, err)
	c := jsonschema.NewCompiler()
	check(t, c.AddResource("lpbuild.schema.json", doc))
	s, err := c.Compile("lpbuild.schema.json")
	check(t, err)
	return s
}

// bySchema validates a text of YAML.
func bySchema(t *testing.T, s *jsonschema.Schema, text string) error {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return s.Validate(v)
}

// example returns the example of the reference.
func example(t *testing.T) string {
	t.Helper()
	keys, err := config.Keys()
	check(t, err)
	return configref.Example(keys)
}

// commentedKey is a key of lpbuild.yaml that is there as a comment.
var commentedKey = regexp.MustCompile(`(?m)^( *)# ([a-z-]+: .*)$`)

// TestSchemaAccepts wants the schema to accept each lpbuild.yaml that lpbuild writes or shows.
func TestSchemaAccepts(t *testing.T) {
	s := readSchema(t)
	texts := map[string]string{"example": example(t)}
	for name, o := range map[string]scaffold.Options{
		"glibc": {Product: "SLE-15-SP5", Arch: []string{"x86_64", "ppc64le"},
			Builds:       ">= 2.31-150300.9",
			Repositories: []scaffold.Repository{{URL: "https://example.com/update"}}},
		"libz1": {Package: "libz1", Product: "SLE-15-SP5",
			Repositories: []scaffold.Repository{{URL: "/srv/repository", Debuginfo: "/srv/debug"}}},
		"import": {Import: existingTree(t), Product: "SLE-15-SP5",
			Repositories: []scaffold.Repository{{URL: "/srv/repository"}}},
	} {
		dir := filepath.Join(t.TempDir(), name)
		_, err := scaffold.Write(dir, o)
		check(t, err)
		text, err := os.ReadFile(filepath.Join(dir, config.FileName))
		check(t, err)
		texts[name] = string(text)
	}
	var b strings.Builder
	tmpl := template.Must(
		template.ParseFiles("../../internal/glibctest/testdata/lpbuild.yaml.tmpl"))
	check(t, tmpl.Execute(&b, map[string]any{"URL": "http://127.0.0.1",
		"Patches": []string{"one", "two"}}))
	texts["glibctest"] = b.String()
	for name, text := range texts {
		if err := bySchema(t, s, text); err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
		if err := bySchema(t, s, commentedKey.ReplaceAllString(text, "$1$2")); err != nil {
			t.Errorf("%s, with what is a comment there: %v\n%s", name, err, text)
		}
	}
}

// existingTree makes a tree of sources for "init --import".
func existingTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"libc_livepatch1.in": "libc_GLIBCVER_livepatch1.so\n@LIBC\nmalloc:malloc_lp\n",
		"libc_livepatch1.c":  "void *malloc_lp(unsigned long n) { return (void *)n; }\n",
	} {
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	return dir
}

// TestSchemaRefuses changes one thing in the example, and wants the schema to refuse what the
// decoder does.
func TestSchemaRefuses(t *testing.T) {
	s, text, dir := readSchema(t), example(t), t.TempDir()
	check(t, os.Mkdir(filepath.Join(dir, "keys"), 0o755))
	for _, name := range []string{"keys/vendor.asc", "libc_livepatch1.in", "libc_livepatch1.c",
		"test.c"} {
		check(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	}
	_, err := config.Parse(filepath.Join(dir, "lpbuild.yaml"), []byte(text))
	check(t, err)
	for old, wrong := range map[string]string{
		"name: glibc-livepatches\n":       "",
		`version: "0.4"`:                  "version: 0.4",
		"license:":                        "licence:",
		"[x86_64, ppc64le]":               "[x86_64, ppc64]",
		"# engine: bundled":               "engine: native",
		"# entries: any":                  "entries: all",
		"    keys:":                       "    key:",
		"# unsigned: true":                `unsigned: "yes"`,
		"30 days":                         "30 moons",
		`">= 2.31-150300.9, < 2.38"`:      `2.31`,
		"[libc_livepatch1.c]":             "[]",
		"# unwinding: none":               "unwinding: some",
		`{accept: "it skips the detour"}`: `{accepted: "it skips the detour"}`,
		"# flavor-builds: 32":             "flavor-builds: 0",
		"release-project":                 "release_project",
	} {
		changed := strings.Replace(text, old, wrong, 1)
		if changed == text {
			t.Fatalf("%q is not in the example:\n%s", old, text)
		}
		if err := bySchema(t, s, changed); err == nil {
			t.Errorf("%q instead of %q is accepted", wrong, old)
		}
		if _, err := config.Parse(filepath.Join(dir, "lpbuild.yaml"),
			[]byte(changed)); err == nil {
			t.Errorf("%q instead of %q is accepted by the decoder", wrong, old)
		}
	}
}
