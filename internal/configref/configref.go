// Package configref writes the reference of lpbuild.yaml, as a page of Markdown and as a man page,
// from the keys that package config reads out of its structs. Nothing about a single key is
// written here.
package configref

import (
	"fmt"
	"strings"
	"time"

	"github.com/lpbuild/lpbuild/internal/manual"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
)

// about is true of the file as a whole.
const about = `A package directory has one lpbuild.yaml. It names the repositories, the packages
whose builds get live patches, and the patches. "lpbuild init" writes the first one.

The file is read strictly. An unknown or repeated key, a missing key, or a value of the wrong type
is an error, and all errors are shown at once, with file, line and column. There is one document,
without anchors and aliases. A text that looks like a number needs quotes.

Files are named relative to the package directory, and must be inside it: they become part of the
source package, and "lpbuild build" has nothing else.`

// forms describes the forms of values that need more than their name.
var forms = []struct {
	form config.Form
	text string
}{
	{config.Range, `Comparisons of versions, separated by commas, all of which must hold:
">= 2.31-150300.9, < 2.38". The operators are <, <=, =, >=, > and !=. Versions are compared as RPM
compares them. A version without a release stands for all its releases.`},
	{config.AgeText, `A number and "days", "weeks", "months" or "years": "13 months".`},
	{config.File, `The name of a file in the package directory.`},
}

// Example returns an lpbuild.yaml that has every key, those with a default as comments.
func Example(keys []config.Key) string {
	var b strings.Builder
	writeExample(&b, keys, "", "")
	return b.String()
}

// writeExample writes keys; first is what the first line begins with instead of the indentation.
func writeExample(b *strings.Builder, keys []config.Key, indent, first string) {
	for _, k := range keys {
		start := indent
		if first != "" {
			start, first = first, ""
		}
		switch {
		case k.Example != "" && k.Default != "":
			fmt.Fprintf(b, "%s# %s: %s\n", start, k.Name, k.Example)
		case k.Example != "":
			fmt.Fprintf(b, "%s%s: %s\n", start, k.Name, k.Example)
		case k.Form == config.MappingList:
			fmt.Fprintf(b, "%s%s:\n", start, k.Name)
			writeExample(b, k.Keys, indent+"    ", indent+"  - ")
		default:
			fmt.Fprintf(b, "%s%s:\n", start, k.Name)
			writeExample(b, k.Keys, indent+"  ", "")
		}
	}
}

// facts is a line about the values of a key.
func facts(k config.Key, quote string) string {
	form := string(k.Form)
	if len(k.Values) > 0 {
		values := make([]string, len(k.Values))
		for i, v := range k.Values {
			values[i] = quote + v + quote
		}
		form = strings.Join(values[:len(values)-1], ", ") + " or " + values[len(values)-1]
		if k.Form == config.TextList {
			form = "list of " + form
		}
	}
	line := strings.ToUpper(form[:1]) + form[1:]
	if k.Required {
		line += ", required"
	}
	if k.Default != "" {
		line += ", default " + quote + k.Default + quote
	}
	return line + "."
}

// Markdown returns the reference as a page of the documentation.
func Markdown(keys []config.Key) []byte {
	var b strings.Builder
	b.WriteString("<!-- Written by \"lpbuild generate --docs docs\" from the structs in " +
		"pkg/buildmatrix/config. Do not edit. -->\n")
	b.WriteString("# lpbuild.yaml\n\n" + about + "\n\n")
	b.WriteString("`lpbuild schema` prints a JSON Schema of the file for editors. The man page " +
		"lpbuild.yaml(5) has the\n" +
		"text of this page.\n\n## Values\n\n")
	for _, f := range forms {
		fmt.Fprintf(&b, "- **%s**: %s\n", f.form, strings.ReplaceAll(f.text, "\n", "\n  "))
	}
	b.WriteString("\n## Example\n\nThis file has every key. Keys with a default are comments.\n\n" +
		"```yaml\n" + Example(keys) + "```\n\n## Keys\n\n")
	markdownKeys(&b, keys)
	return []byte(strings.TrimRight(b.String(), "\n") + "\n")
}

func markdownKeys(b *strings.Builder, keys []config.Key) {
	for _, k := range keys {
		fmt.Fprintf(b, "### `%s`\n\n*%s*\n\n%s\n\n", k.Path, facts(k, "`"), k.Doc)
		if k.Example != "" {
			fmt.Fprintf(b, "```yaml\n%s: %s\n```\n\n", k.Name, k.Example)
			continue // a reason's mapping is in the example
		}
		markdownKeys(b, k.Keys)
	}
}

// Page returns the reference as a man page.
func Page(keys []config.Key, date time.Time) *manual.Page {
	var b strings.Builder
	b.WriteString(about + "\n\nVALUES\n")
	for _, f := range forms {
		fmt.Fprintf(&b, "%s: %s\n\n", f.form, f.text)
	}
	b.WriteString("KEYS\n")
	pageKeys(&b, keys)
	var example strings.Builder
	example.WriteString("This file has every key. Keys with a default are comments.\n\n")
	for line := range strings.Lines(Example(keys)) {
		example.WriteString("  " + line)
	}
	return &manual.Page{
		Name: config.FileName, Section: 5, Summary: "the configuration of a live patch package",
		Synopsis: []string{"lpbuild.yaml"},
		Text:     b.String(), Examples: example.String(), SeeAlso: []string{"lpbuild",
			"lpbuild-init", "lpbuild-build", "lpbuild-schema"}, Date: date,
	}
}

func pageKeys(b *strings.Builder, keys []config.Key) {
	for _, k := range keys {
		fmt.Fprintf(b, "%s\n  %s\n\n%s\n\n", k.Path, facts(k, `"`), k.Doc)
		if k.Example == "" {
			pageKeys(b, k.Keys)
		}
	}
}
