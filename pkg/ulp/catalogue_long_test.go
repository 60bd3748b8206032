package ulp_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// parsedAs returns the library of the catalogue as it is read with blanks everywhere, and so in the
// general way.
func parsedAs(t *testing.T, catalogue []byte) *symtab.Library {
	t.Helper()
	var indented bytes.Buffer
	if err := json.Indent(&indented, catalogue, "", " "); err != nil {
		t.Fatal(err)
	}
	l, err := symtab.ParseCatalogue(indented.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

const symbolLine = `{"name":"f%d","offset":%[1]d,"size":4,"st_info":18,"st_other":0,` +
	`"version":"V_%d"}`

// longCatalogue returns a catalogue with the lines that change returns.
func longCatalogue(change func(i int, line string) string) []byte {
	var b strings.Builder
	b.WriteString("{\n\"library\":{\n\"name\":\"l\",\n\"buildid\":\"ab\",\n\"arch\":\"x86_64\",\n" +
		"\"symbols\":[")
	separator := "\n"
	for i := range longLines {
		b.WriteString(separator + change(i, fmt.Sprintf(symbolLine, i, i%7)))
		separator = ",\n"
	}
	b.WriteString("\n]}}\n")
	return []byte(b.String())
}

const longLines = 4000

// Lines in the form that is read at once may stand among others; versions come and go.
func TestCatalogueMixedForms(t *testing.T) {
	unchanged := func(_ int, line string) string { return line }
	at := func(n int, with string) func(int, string) string {
		return func(i int, line string) string {
			if i == n {
				return with
			}
			return line
		}
	}
	blank := strings.Replace(fmt.Sprintf(symbolLine, 1, 1), "{", "{ ", 1)
	// A value that nobody knows, which is made of lines like symbols.
	var inside strings.Builder
	for i := range longLines {
		inside.WriteString(",\n" + fmt.Sprintf(symbolLine, i, 1))
	}
	tests := map[string][]byte{
		"as written":          longCatalogue(unchanged),
		"blank in the first":  longCatalogue(at(5, blank)),
		"blank in the second": longCatalogue(at(longLines-5, blank)),
		"blanks everywhere": longCatalogue(func(_ int, line string) string {
			return strings.Replace(line, "{", "{ ", 1)
		}),
		"last is another form": longCatalogue(at(longLines-1, blank)),
		"unknown value": longCatalogue(at(5, `{"name":"u","offset":0,"size":4,`+
			`"st_info":18,"st_other":0,"unknown":[1`+inside.String()+"]}")),
		"as many versions as may be": longCatalogue(func(i int, _ string) string {
			return fmt.Sprintf(symbolLine, i, i)
		}),
	}
	for what, text := range tests {
		got, err := symtab.ParseCatalogue(text)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if d := cmp.Diff(parsedAs(t, text), got, sameLibrary); d != "" {
			t.Errorf("%s (-with blanks +as it is):\n%s", what, d[:min(len(d), 2000)])
		}
		if s, ok := got.Lookup(fmt.Sprintf("f%d", longLines-2)); !ok || s.Value != longLines-2 ||
			s.Version == "" {
			t.Errorf("%s: the last but one is %+v, %t", what, s, ok)
		}
	}
}

// What is wrong far after is found there, and versions that are too many in all are too many.
func TestLongCatalogueErrors(t *testing.T) {
	for what, bad := range map[string]string{"not a number": `"offset":x`, "no JSON": `"offset":}`,
		"a negative number": `"offset":-1`} {
		text := longCatalogue(func(i int, line string) string {
			if i == longLines-9 {
				return strings.Replace(line, `"offset":3991`, bad, 1)
			}
			return line
		})
		l, err := symtab.ParseCatalogue(text)
		if l != nil || !isFormatError(err) {
			t.Errorf("%s: %v, %v", what, l, err)
		}
	}
	text := longCatalogue(func(i int, line string) string {
		more := fmt.Sprintf(symbolLine, i, i+longLines)
		return fmt.Sprintf(symbolLine, i, i) + ",\n" + more
	})
	if l, err := symtab.ParseCatalogue(text); l != nil || !isFormatError(err) ||
		!strings.Contains(err.Error(), "one version too many") {
		t.Errorf("%v", err)
	}
	full := longCatalogue(func(_ int, line string) string { return line })
	for n := len(full) - 3; n > 0; n -= 997 {
		if l, err := symtab.ParseCatalogue(full[:n]); l != nil || !isFormatError(err) {
			t.Fatalf("the first %d bytes: %v, %v", n, l, err)
		}
	}
}
