package config

import (
	"embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/rpmver"
)

// Key describes a key of lpbuild.yaml, for the reference, the man page and the JSON Schema. It is
// read from the structs that hold the configuration; see [Config].
type Key struct {
	Name     string // as it is written: "url"
	Path     string // from the top: "repositories[].url"
	Doc      string // sentences, with the line breaks of the source
	Form     Form   // of the value
	Required bool   // the mapping that the key belongs to must have it
	Default  string // "" if there is none that can be written
	// all that is allowed, of each element if Form is TextList; nil for no such list
	Values  []string
	Example string // a value as it is written in YAML; "" for a mapping and for a list of mappings
	Keys    []Key  // of the mapping, or of each mapping in the list
}

// Form is the form of a value in lpbuild.yaml.
type Form string

// The forms of values.
const (
	Text        Form = "text"
	Truth       Form = "true or false"
	Number      Form = "number"
	Range       Form = "version range"
	AgeText     Form = "age"
	File        Form = "file"
	TextList    Form = "list of texts"
	FileList    Form = "list of files"
	Mapping     Form = "mapping"
	MappingList Form = "list of mappings"
	Acceptance  Form = "mapping {accept: REASON}"
)

// Keys returns the keys of lpbuild.yaml in the order of the reference.
func Keys() ([]Key, error) {
	docs, err := fieldDocs()
	if err != nil {
		return nil, err
	}
	return keysOf(reflect.TypeFor[Config](), "", docs)
}

// requiredKeys returns the keys that a mapping read into a T must have.
func requiredKeys[T any]() []string {
	var names []string
	for field := range reflect.TypeFor[T]().Fields() {
		if field.Tag.Get("required") == "true" {
			names = append(names, field.Tag.Get("key"))
		}
	}
	return names
}

// sources are the files whose comments describe the keys. They are part of the program: a
// description that stood anywhere else could say something else.
//
//go:embed config.go obs.go
var sources embed.FS

// fieldDocs returns the comment above each field of the configuration's structs, by TYPE.FIELD.
func fieldDocs() (map[string]string, error) {
	docs := map[string]string{}
	for _, name := range []string{"config.go", "obs.go"} {
		text, err := sources.ReadFile(name)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text,
			parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if structure, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range structure.Fields.List {
					for _, ident := range field.Names {
						docs[spec.Name.Name+"."+ident.Name] = strings.TrimSpace(field.Doc.Text())
					}
				}
			}
			return false
		})
	}
	return docs, nil
}

// keysOf returns the keys of a mapping that is read into a struct.
func keysOf(t reflect.Type, path string, docs map[string]string) ([]Key, error) {
	var keys []Key
	for field := range t.Fields() {
		name, inner, isNested := strings.Cut(field.Tag.Get("key"), ">")
		if name == "" {
			continue
		}
		k := Key{
			Name: name, Path: path + name, Doc: docs[t.Name()+"."+field.Name],
			Required: field.Tag.Get("required") == "true",
			Default:  field.Tag.Get("default"), Values: strings.Fields(field.Tag.Get("values")),
			Example: field.Tag.Get("example"),
		}
		if k.Doc == "" {
			return nil, fmt.Errorf("%s.%s: there is no comment above the field", t.Name(),
				field.Name)
		}
		var err error
		switch {
		case isNested: // a mapping with one key, for which there is no struct
			k.Form = Acceptance
			k.Keys = []Key{{Name: inner, Path: k.Path + "." + inner,
				Doc: "The reason, one line of text.", Form: Text, Required: true}}
		case field.Type.Kind() == reflect.Slice && field.Type.Elem().Kind() == reflect.Struct:
			k.Form = MappingList
			k.Keys, err = keysOf(field.Type.Elem(), k.Path+"[].", docs)
		case field.Type == reflect.TypeFor[rpmver.Range]():
			k.Form = Range
		case field.Type == reflect.TypeFor[Age]():
			k.Form = AgeText
		case field.Type.Kind() == reflect.Struct:
			k.Form = Mapping
			k.Keys, err = keysOf(field.Type, k.Path+".", docs)
		default:
			k.Form, err = plainForm(field)
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// plainForm returns the form of a field that is no struct and has none in it.
func plainForm(field reflect.StructField) (Form, error) {
	isFile := field.Tag.Get("file") == "true"
	switch kind := field.Type.Kind(); {
	case kind == reflect.Bool:
		return Truth, nil
	case kind == reflect.Int:
		return Number, nil
	case kind == reflect.String && isFile:
		return File, nil
	case kind == reflect.String:
		return Text, nil
	case kind == reflect.Slice && isFile:
		return FileList, nil
	case kind == reflect.Slice:
		return TextList, nil
	}
	return "", fmt.Errorf("%s: a value of the type %s has no form in %s", field.Name, field.Type,
		FileName)
}
