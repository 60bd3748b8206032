package ulp_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// sameLibrary compares libraries with their symbols.
var sameLibrary = cmp.Options{
	cmpopts.IgnoreUnexported(symtab.Library{}),
	cmpopts.EquateEmpty(),
	cmp.Transformer("withSymbols", func(l *symtab.Library) any {
		return struct {
			Library symtab.Library
			Symbols []symtab.Symbol
		}{*l, slices.Collect(l.Symbols())}
	}),
}

func TestCatalogueRoundTrip(t *testing.T) {
	libraries := map[string]*symtab.Library{
		"symbol versions": parseLibrary(t, x86.library(t, "-DVERSIONS", "-DIFUNC",
			"-Wl,--version-script=testdata/library.map"), nil),
		"no build-id": parseLibrary(t, x86.library(t, "-Wl,--build-id=none"), nil),
		"no symbols": parseLibrary(t, x86.build(t, "testdata/library.c", "-nostdlib", "-s",
			"-Wl,--version-script=testdata/none.map"), nil),
	}
	for _, c := range toolchains {
		libraries[string(c.arch)] = parseLibrary(t, c.library(t, "-Wl,-soname,lib\"\\\x01.so"), nil)
	}
	for name, l := range libraries {
		t.Run(name, func(t *testing.T) {
			text := l.AppendCatalogue([]byte("before"))
			again, err := symtab.ParseCatalogue(text[len("before"):])
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(l, again, sameLibrary); d != "" {
				t.Errorf("after writing and reading (-before +after):\n%s", d)
			}
			if second := again.AppendCatalogue([]byte("before")); string(second) != string(text) {
				t.Error("the same library makes another catalogue")
			}
		})
	}
}

// oracle is the shape of a catalogue for encoding/json.
type oracle struct {
	Library struct {
		Name, BuildID, Arch, SONAME string
		Needed                      []string
		Needs                       []symtab.Need
		Livepatchable               bool
		Symbols                     []oracleSymbol
	}
}

type oracleSymbol struct {
	Name         string
	Offset, Size json.Number
	Info         byte `json:"st_info"`
	Other        byte `json:"st_other"`

	Version                                          string
	Default, Dynamic, Undefined, Patchable, Writable bool
}

// matches returns how the library differs from what encoding/json reads of the same bytes.
func (o *oracle) diff(l *symtab.Library) string {
	want := o.Library
	diff := cmp.Diff([]any{want.Name, strings.ToLower(want.BuildID), want.Arch, want.SONAME,
		want.Livepatchable, want.Needed, want.Needs}, []any{l.Name, hex.EncodeToString(l.BuildID),
		string(l.Arch), l.SONAME, l.Livepatchable, l.Needed, l.Needs}, cmpopts.EquateEmpty())
	var got []oracleSymbol
	for s := range l.Symbols() {
		got = append(got, oracleSymbol{
			Name: s.Name, Offset: json.Number(fmt.Sprint(s.Value)),
			Size: json.Number(fmt.Sprint(s.Size)), Info: s.Info, Other: s.Other,
			Version: s.Version, Default: s.Default, Dynamic: s.Dynamic, Undefined: s.Undefined,
			Patchable: s.Patchable, Writable: s.Writable,
		})
	}
	return diff + cmp.Diff(want.Symbols, got, cmpopts.EquateEmpty())
}

func TestCatalogueIsJSON(t *testing.T) {
	for _, c := range toolchains {
		l := parseLibrary(t, c.library(t, "-Wl,-soname,libtest.so.1"), nil)
		var o oracle
		if err := json.Unmarshal(l.AppendCatalogue(nil), &o); err != nil {
			t.Fatal(err)
		}
		if d := o.diff(l); d != "" {
			t.Errorf("%s: catalogue (-encoding/json +library):\n%s", c.arch, d)
		}
	}
}

func TestCatalogueLooksAsDocumented(t *testing.T) {
	l, err := symtab.ParseCatalogue([]byte(prettyCatalogue))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
"library":{
"name":"libc.so.6",
"buildid":"a88393d104a3613a5ffd8ae6d7b0a1e1a2bd9a4f",
"symbols":[
{"name":"free/x","offset":634000,"size":215,"st_info":18,"st_other":0},
{"name":"huge","offset":2147483648,"size":4294967295,"st_info":17,"st_other":2}
]}}
`
	if d := cmp.Diff(want, string(l.AppendCatalogue(nil))); d != "" {
		t.Errorf("catalogue (-want +got):\n%s", d)
	}
}

// prettyCatalogue is in the form in which libpulp writes: pretty-printed by json-c, numbers cut to
// 32 bits with sign.
const prettyCatalogue = `{
  "library":{
    "name":"libc.so.6",
    "buildid":"a88393d104a3613a5ffd8ae6d7b0a1e1a2bd9a4f",
    "symbols":[
      {
        "name":"free\/x",
        "offset":634000,
        "size":215,
        "st_info":18,
        "st_other":0
      },
      {
        "name":"huge",
        "offset":-2147483648,
        "size":-1,
        "st_info":17,
        "st_other":2
      }
    ]
  }
}`

func TestParseLibpulpCatalogue(t *testing.T) {
	l, err := symtab.ParseCatalogue([]byte(prettyCatalogue))
	if err != nil {
		t.Fatal(err)
	}
	if l.Complete || l.Arch != "" || l.Name != "libc.so.6" || len(l.BuildID) != 20 {
		t.Errorf("library: %+v", l)
	}
	want := []symtab.Symbol{{Name: "free/x", Value: 634000, Size: 215, Info: 18},
		{Name: "huge", Value: 1 << 31, Size: 1<<32 - 1, Info: 17, Other: 2}}
	if d := cmp.Diff(want, slices.Collect(l.Symbols())); d != "" {
		t.Errorf("symbols (-want +got):\n%s", d)
	}
}

// catalogue returns a catalogue with one symbol, after replacing parts of it.
func catalogue(replace ...string) string {
	const plain = `{"library":{"name":"l","buildid":"ab","arch":"x86_64","needed":["n"],` +
		`"needs":[{"file":"n","version":"V"}],` +
		`"symbols":[{"name":"f","offset":1,"size":2,"st_info":18,"st_other":0,"version":"V",` +
		`"default":true}]}}`
	return strings.NewReplacer(replace...).Replace(plain)
}

func TestParseCatalogueAccepts(t *testing.T) {
	tests := map[string]string{
		"another order": catalogue(`"name":"l","buildid":"ab",`, ``, `]}}`,
			`],"buildid":"ab","name":"l"}}`),
		"unknown keys": catalogue(`"library":`, `"x":[{"y":-1.5e+3,"z":[]},null,true,false,`+
			`"\u0000",{},0],"library":`, `"size":`, `"x":{"size":1},"size":`, `"arch":`,
			`"libpulp":1,"arch":`, `"file":`, `"x":0,"file":`),
		"white space": " \t\r\n" + catalogue(`:`, " : ", `,`, "\n,\t", `{`, "{ ", `}`, " }") +
			"\n",
		"escapes":         catalogue(`"f"`, `"\u0066"`, `"name"`, `"n\u0061me"`, `"V"`, `"\u0056"`),
		"capital hex":     catalogue(`"ab"`, `"AB"`),
		"false":           catalogue(`"size"`, `"dynamic":false,"size"`),
		"as it is":        catalogue(),
		"largest numbers": catalogue(`"st_other":0`, `"st_other":0`),
	}
	want, err := symtab.ParseCatalogue([]byte(catalogue()))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := symtab.ParseCatalogue([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got, sameLibrary); d != "" {
				t.Errorf("library (-want +got):\n%s", d)
			}
		})
	}
}

func TestCatalogueNames(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"all escapes":       {`\"\\\/\b\f\n\r\t\u00e9\u20AC`, "\"\\/\b\f\n\r\té€"},
		"surrogate pair":    {`\ud83d\ude00`, "😀"},
		"lone surrogate":    {`\ud83dx`, "\ufffdx"},
		"two lone ones":     {`\ude00\ud83d`, "\ufffd\ufffd"},
		"bytes as they are": {"caf\xe9 \x7f é", "caf\xe9 \x7f é"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l, err := symtab.ParseCatalogue([]byte(catalogue(`"f"`, `"`+tc.text+`"`)))
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := l.Lookup(tc.want); !ok {
				t.Errorf("symbols are %+v, want %q", slices.Collect(l.Symbols()), tc.want)
			}
			if again, err := symtab.ParseCatalogue(l.AppendCatalogue(nil)); err != nil ||
				cmp.Diff(l, again, sameLibrary) != "" {
				t.Errorf("after writing and reading: %v, %v", again, err)
			}
		})
	}
}

func TestParseCatalogueRefuses(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"nothing":               {"", "unexpected EOF"},
		"another value":         {"[]", `want '{'`},
		"no library":            {"{}", "library at 0x2: is missing"},
		"library is no object":  {`{"library":[]}`, `want '{'`},
		"two libraries":         {catalogue(`}]}}`, `}]},"library":{}}`), "twice"},
		"something behind":      {catalogue() + "x", "something follows"},
		"NUL behind":            {catalogue() + "\x00", "something follows"},
		"comma at the end":      {catalogue(`true}`, `true,}`), `want '"'`},
		"no comma":              {catalogue(`1,`, `1 `), "is not JSON"},
		"no name":               {catalogue(`"name":"l",`, ``), `"name"`},
		"no buildid":            {catalogue(`"buildid":"ab",`, ``), `"buildid"`},
		"no symbols":            {catalogue(`"symbols"`, `"others"`), `"symbols"`},
		"odd buildid":           {catalogue(`"ab"`, `"abc"`), "hexadecimal"},
		"buildid not hex":       {catalogue(`"ab"`, `"xy"`), "hexadecimal"},
		"long buildid":          {catalogue(`"ab"`, `"`+strings.Repeat("ab", 65)+`"`), "64 bytes"},
		"unknown arch":          {catalogue(`x86_64`, `m68k`), "unsupported"},
		"need without file":     {catalogue(`"file":"n",`, ``), `"file"`},
		"need without version":  {catalogue(`,"version":"V"}`, `}`), `"version"`},
		"key twice":             {catalogue(`"size":2`, `"size":2,"size":2`), "twice"},
		"library's key twice":   {catalogue(`"arch"`, `"name":"l","arch"`), "twice"},
		"symbol without name":   {catalogue(`"name":"f",`, ``), `"name"`},
		"symbol without offset": {catalogue(`"offset":1,`, ``), `"offset"`},
		"symbol without size":   {catalogue(`"size":2,`, ``), `"size"`},
		"symbol without info":   {catalogue(`"st_info":18,`, ``), `"st_info"`},
		"symbol without other":  {catalogue(`,"st_other":0`, ``), `"st_other"`},
		"empty symbol name":     {catalogue(`"f"`, `""`), "empty"},
		"NUL in symbol name":    {catalogue(`"f"`, `"a\u0000"`), "NUL"},
		"empty version":         {catalogue(`"V","default"`, `"","default"`), "empty"},
		"control character":     {catalogue(`"f"`, "\"a\nb\""), "escaped"},
		"control after escape":  {catalogue(`"f"`, "\"\\n\n\""), "escaped"},
		"bad escape":            {catalogue(`"f"`, `"\x"`), "is not JSON"},
		"bad hex escape":        {catalogue(`"f"`, `"\u12g4"`), "is not JSON"},
		"negative offset":       {catalogue(`"offset":1`, `"offset":-1`), "negative"},
		"negative info":         {catalogue(`18`, `-18`), "negative"},
		"minus zero":            {catalogue(`"offset":1`, `"offset":-0`), "negative"},
		"below 32 bits": {strings.Replace(prettyCatalogue, "-2147483648", "-2147483649", 1),
			"negative"},
		"offset of 65 bits": {catalogue(`"offset":1`, `"offset":18446744073709551616`), "larger"},
		"info of 9 bits":    {catalogue(`18`, `256`), "larger than 255"},
		"leading zero":      {catalogue(`"offset":1`, `"offset":01`), "is not JSON"},
		"fraction":          {catalogue(`"offset":1`, `"offset":1.0`), "not an integer"},
		"exponent":          {catalogue(`"offset":1`, `"offset":1e3`), "not an integer"},
		"string for number": {catalogue(`"offset":1`, `"offset":"1"`), "is not JSON"},
		"number for string": {catalogue(`"f"`, `1`), "is not JSON"},
		"number for flag":   {catalogue(`true`, `1`), "is not JSON"},
		"nested deeply": {`{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
			"too deeply"},
		"skipped: bare word": {catalogue(`"offset"`, `"x":nul,"offset"`), "is not JSON"},
		"skipped: fraction":  {catalogue(`"offset"`, `"x":1.,"offset"`), "is not JSON"},
		"skipped: exponent":  {catalogue(`"offset"`, `"x":1e,"offset"`), "is not JSON"},
		"skipped: zeros":     {catalogue(`"offset"`, `"x":00,"offset"`), "is not JSON"},
		"many needed": {catalogue(`["n"]`, `["n"`+strings.Repeat(`,"n"`, 5000)+`]`),
			"too many"},
	}
	var versions strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&versions, `{"name":"f","offset":0,"size":0,"st_info":0,"st_other":0,`+
			`"version":"%d"},`, i)
	}
	tests["many versions"] = struct {
		text, want string
	}{catalogue(`"symbols":[`, `"symbols":[`+versions.String()), "too many"}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l, err := symtab.ParseCatalogue([]byte(tc.text))
			if l != nil || !isFormatError(err) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("ParseCatalogue: %v, %v; want an error with %q", l, err, tc.want)
			}
		})
	}
}

func TestParseCatalogueErrorHasOffset(t *testing.T) {
	text := catalogue(`"offset":1`, `"offset":x`)
	_, err := symtab.ParseCatalogue([]byte(text))
	format, ok := errors.AsType[*symtab.FormatError](err)
	if want := int64(strings.Index(text, `x,"size"`)); !ok || format.Off != want {
		t.Errorf("error is %v, want one at %#x", err, want)
	}
}

func TestTruncatedCatalogue(t *testing.T) {
	text := catalogue()
	for n := range len(text) {
		if l, err := symtab.ParseCatalogue([]byte(text[:n])); l != nil || !isFormatError(err) {
			t.Errorf("the first %d bytes: %v, %v", n, l, err)
		}
	}
}

func FuzzParseCatalogue(f *testing.F) {
	f.Add([]byte(catalogue()))
	f.Add([]byte(prettyCatalogue))
	f.Add([]byte(`{"library":{"name":"l","buildid":"","entries":{"proof":2,` +
		`"verdicts":[{"why":"x","at":[1,2]},{"at":[]}]},"symbols":[]}}`))
	f.Add([]byte(`{"library":{"name":"l","buildid":"","unwinding":{"proof":1,` +
		`"verdicts":[{"why":"x","at":[1,2]}]},"symbols":[]}}`))
	f.Add([]byte(catalogue(`"size"`, `"x":[1.5e3,"\ud800\n",{"a":null}],"size"`)))
	f.Fuzz(func(t *testing.T, in []byte) {
		l, err := symtab.ParseCatalogue(in)
		if err != nil {
			if l != nil || !isFormatError(err) {
				t.Fatalf("%v, %v", l, err)
			}
			return
		}
		if !json.Valid(in) && strings.ToValidUTF8(string(in), "") == string(in) {
			t.Errorf("encoding/json does not take %q", in)
		}
		again, err := symtab.ParseCatalogue(l.AppendCatalogue(nil))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(l, again, sameLibrary); d != "" {
			t.Errorf("after writing and reading (-before +after):\n%s", d)
		}
	})
}
