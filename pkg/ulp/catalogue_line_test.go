package ulp_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// The same catalogue in another form, which cannot be read line by line, is the same library.
func TestCatalogueForms(t *testing.T) {
	for _, c := range toolchains {
		want := parseLibrary(t, c.library(t), nil)
		var indented bytes.Buffer
		if err := json.Indent(&indented, want.AppendCatalogue(nil), "", "\t"); err != nil {
			t.Fatal(err)
		}
		got, err := symtab.ParseCatalogue(indented.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, sameLibrary); d != "" {
			t.Errorf("%s (-as written +indented):\n%s", c.arch, d)
		}
	}
}

// catalogueOf returns a catalogue with two symbols, both written like that.
func catalogueOf(symbol string) []byte {
	return []byte(`{"library":{"name":"l","buildid":"ab","arch":"x86_64","symbols":[` + symbol +
		"," + symbol + "]}}")
}

// checkForms reads a symbol as it is written and with a blank before its first key, which is
// read in the general way.
func checkForms(t *testing.T, symbol string) {
	t.Helper()
	a, errA := symtab.ParseCatalogue(catalogueOf(symbol))
	b, errB := symtab.ParseCatalogue(catalogueOf(strings.Replace(symbol, "{", "{ ", 1)))
	if (errA == nil) != (errB == nil) {
		t.Fatalf("%q: %v; with a blank: %v", symbol, errA, errB)
	}
	if errA != nil {
		return
	}
	if d := cmp.Diff(b, a, sameLibrary); d != "" {
		t.Errorf("%q (-general +line):\n%s", symbol, d)
	}
}

var symbolForms = []string{
	`{"name":"f","offset":16,"size":4,"st_info":18,"st_other":0}`,
	`{"name":"f","offset":16,"size":4,"st_info":18,"st_other":0,"version":"V_1","default":true,` +
		`"dynamic":true,"patchable":true}`,
	`{"name":"f","offset":0,"size":0,"st_info":18,"st_other":0,"undefined":true,"writable":true}`,
	// order
	`{"name":"f","offset":16,"size":4,"st_info":18,"st_other":0,"writable":true,"patchable":true}`,
	`{"name":"f","offset":16,"size":4,"st_info":18,"st_other":0,"dynamic":true,"patchable":true,` +
		`"landing":true}`,
	// twice
	`{"name":"f","offset":16,"size":4,"st_info":18,"st_other":0,"landing":true,"landing":false}`,
	`{"name":"f","offset":16,"size":4,"st_info":18,"st_other":0,"patchable":false}`,
	// twice
	`{"name":"f","offset":16,"size":4,"st_info":18,"st_other":0,"patchable":true,"patchable":true}`,
	`{"name":"f","offset":16,"size":4,"st_info":18,"st_other":0,"other":[1]}`,
	`{"name":"f","offset":16,"size":4,"st_info":18,"st_other":0,}`,
	`{"name":"f","offset":16,"size":4,"st_info":18,"st_other":0`,
	`{"name":"f","offset":16,"size":4,"st_info":18}`,
	`{"name":"f","size":4,"offset":16,"st_info":18,"st_other":0}`,
	`{"name":"a\"b\u00e9","offset":16,"size":4,"st_info":18,"st_other":0}`,
	`{"name":"","offset":16,"size":4,"st_info":18,"st_other":0}`,
	`{"name":"f","offset":16,"size":4,"st_info":18,"st_other":0,"version":""}`,
	`{"name":"f","offset":16,"size":4,"st_info":18,"st_other":0,"version":"` +
		strings.Repeat("v", 5000) + `"}`,
	"{\"name\":\"a\x01b\",\"offset\":16,\"size\":4,\"st_info\":18,\"st_other\":0}",
	`{"name":"f","offset":18446744073709551615,"size":9999999999999999999,"st_info":255,` +
		`"st_other":255}`,
	`{"name":"f","offset":18446744073709551616,"size":4,"st_info":18,"st_other":0}`,
	`{"name":"f","offset":00,"size":4,"st_info":18,"st_other":0}`,
	`{"name":"f","offset":,"size":4,"st_info":18,"st_other":0}`,
	`{"name":"f","offset":-1,"size":4,"st_info":18,"st_other":0}`,
	`{"name":"f","offset":1.5,"size":4,"st_info":18,"st_other":0}`,
	`{"name":"f","offset":16,"size":4,"st_info":256,"st_other":0}`,
}

func TestSymbolForms(t *testing.T) {
	for _, symbol := range symbolForms {
		checkForms(t, symbol)
	}
}

func FuzzSymbolForms(f *testing.F) {
	for _, symbol := range symbolForms {
		f.Add(symbol)
	}
	f.Fuzz(checkForms)
}
