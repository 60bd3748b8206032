package config

import (
	"bytes"
	"encoding/json"
	"strings"
)

// schemaDialect is the version of JSON Schema that editors know best.
const schemaDialect = "http://json-schema.org/draft-07/schema#"

// schema is the part of a JSON Schema that lpbuild.yaml needs.
type schema struct {
	Dialect     string            `json:"$schema,omitempty"`
	Title       string            `json:"title,omitempty"`
	Description string            `json:"description,omitempty"`
	Type        string            `json:"type"`
	Enum        []string          `json:"enum,omitempty"`
	Pattern     string            `json:"pattern,omitempty"`
	Minimum     *int              `json:"minimum,omitempty"`
	MinLength   int               `json:"minLength,omitempty"`
	MinItems    int               `json:"minItems,omitempty"`
	Unique      bool              `json:"uniqueItems,omitempty"`
	Items       *schema           `json:"items,omitempty"`
	Properties  map[string]schema `json:"properties,omitempty"`
	Required    []string          `json:"required,omitempty"`
	Closed      *bool             `json:"additionalProperties,omitempty"`
}

// Schema returns a JSON Schema of lpbuild.yaml for editors. It accepts every file that
// [Parse] accepts. It does not know everything that Parse checks: whether files exist,
// for example, or which compiler flags are allowed.
func Schema() ([]byte, error) {
	keys, err := Keys()
	if err != nil {
		return nil, err
	}
	top := mappingSchema(keys)
	top.Dialect, top.Title = schemaDialect, FileName
	top.Description = "A live patch package, as lpbuild builds it."
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false) // it is read by people, too
	enc.SetIndent("", "  ")
	if err := enc.Encode(top); err != nil {
		return nil, err
	}
	return text.Bytes(), nil
}

// mappingSchema describes a mapping that has no other keys than these.
func mappingSchema(keys []Key) schema {
	s := schema{Type: "object", Properties: map[string]schema{}, Closed: new(bool)}
	for _, k := range keys {
		s.Properties[k.Name] = k.schema()
		if k.Required {
			s.Required = append(s.Required, k.Name)
		}
	}
	return s
}

// schema describes the key's value.
func (k *Key) schema() schema {
	text := schema{Type: "string", Enum: k.Values}
	s := text
	switch k.Form {
	case Text:
	case File:
		s.MinLength = 1
	case Truth:
		s.Type = "boolean"
	case Number:
		least := 1
		s = schema{Type: "integer", Minimum: &least}
	case AgeText:
		s.Pattern = `^\s*[0-9]{1,4} +(day|week|month|year)s?\s*$`
	case Range:
		s.Pattern = `^\s*($|[<>=]|!=)`
	case TextList:
		s = schema{Type: "array", Items: &text, Unique: len(k.Values) > 0}
	case FileList:
		s = schema{Type: "array", Items: &text}
	case Mapping, Acceptance:
		s = mappingSchema(k.Keys)
	case MappingList:
		item := mappingSchema(k.Keys)
		s = schema{Type: "array", Items: &item}
	}
	if s.Type == "array" && (k.Required || k.Form == FileList) {
		s.MinItems = 1
	}
	s.Description = strings.Join(strings.Fields(k.Doc), " ")
	return s
}
