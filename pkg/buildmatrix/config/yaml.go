package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/download/fetch"
)

// document is a YAML text being read strictly: every key is known, occurs once and has the right
// type. It collects what is wrong instead of stopping at the first.
type document struct {
	file     string
	text     []byte
	findings diag.List
}

// parseYAML returns the top node of the only document in the text, or nil after a finding.
func (d *document) parseYAML() *yaml.Node {
	var root yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(d.text))
	switch err := dec.Decode(&root); {
	case errors.Is(err, io.EOF):
		d.at(diag.Pos{File: d.file, Line: 1, Column: 1}, 1, "the file is empty",
			"lpbuild init DIR shows what belongs here")
		return nil
	case err != nil:
		d.syntax(err)
		return nil
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		d.add(&root, "there is a second document (\"---\"): one is allowed", "")
		return nil
	}
	return root.Content[0]
}

var yamlLine = lazyregexp.New(`^yaml: (?:line (\d+): )?(.*)$`)

// syntax turns the YAML library's message into a finding.
func (d *document) syntax(err error) {
	line, message := d.wrongLine(), err.Error()
	if m := yamlLine().FindStringSubmatch(err.Error()); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil && line == 0 {
			line = n
		}
		line = max(line, 1)
		message = "not YAML: " + m[2]
	}
	source := diag.Line(d.text, line)
	column := 1 + len(source) - len(strings.TrimLeft(source, " \t"))
	d.at(diag.Pos{File: d.file, Line: line, Column: column}, len(source), message, "")
}

// Bounds of a text that is searched for the wrong line: each line costs a look at all before it.
const (
	maxSearched      = 500      // lines
	maxSearchedBytes = 16 << 10 // far more than a configuration has
)

// wrongLine returns the line of a text that is not YAML from which on it cannot be any more: all up
// to the line before is; 0 if the text is too long. The library's own number is often the line
// where it began what it could not end.
func (d *document) wrongLine() int {
	lines := bytes.SplitAfter(d.text, []byte("\n"))
	if len(lines) > maxSearched || len(d.text) > maxSearchedBytes {
		return 0
	}
	wrong, end := 0, len(d.text)
	for i, line := range slices.Backward(lines) {
		if yaml.Unmarshal(d.text[:end], new(yaml.Node)) == nil {
			break
		}
		wrong, end = i+1, end-len(line)
	}
	return wrong
}

// scheme is how a URL begins.
var scheme = lazyregexp.New(`[A-Za-z][A-Za-z0-9+.-]*://`)

// withoutSecrets returns a text of one line as it may be shown, in the log of a build service, too:
// what may be a user, a password or a token of a URL is hidden.
func withoutSecrets(text string) string {
	at := scheme().FindStringIndex(text)
	if at == nil {
		return text
	}
	return text[:at[0]] + fetch.Redact(text[at[0]:])
}

// at records a finding at a place.
func (d *document) at(pos diag.Pos, length int, message, hint string) {
	d.findings = append(d.findings, &diag.Diagnostic{
		Pos: pos, Length: length, Source: withoutSecrets(diag.Line(d.text, pos.Line)),
		Message: withoutSecrets(message), Hint: withoutSecrets(hint),
	})
}

// add records a finding about a node.
func (d *document) add(n *yaml.Node, message, hint string) {
	d.at(d.pos(n), max(1, len(n.Value)), message, hint)
}

func (d *document) pos(n *yaml.Node) diag.Pos {
	return diag.Pos{File: d.file, Line: max(1, n.Line), Column: max(1, n.Column)}
}

// fields maps the keys that a mapping may have to what reads their values.
type fields map[string]func(*yaml.Node)

// mapping hands each value of a mapping to its reader and reports unknown, repeated and missing
// keys.
func (d *document) mapping(n *yaml.Node, what string, known fields, required ...string) {
	if n.Kind != yaml.MappingNode {
		d.add(n, fmt.Sprintf("%s: a mapping (key: value) belongs here, not %s", what, kindName(n)),
			"")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read, ok := known[key.Value]
		switch {
		case !ok:
			d.add(key, fmt.Sprintf("%s: unknown key %q", what, key.Value),
				suggestKey(key.Value, known))
			continue
		case seen[key.Value]:
			d.add(key, fmt.Sprintf("%s: key %q occurs twice", what, key.Value), "")
			continue
		}
		seen[key.Value] = true
		if value.Kind == yaml.AliasNode {
			d.add(value, "aliases are not allowed here", "write the value out")
			continue
		}
		read(value)
	}
	for _, key := range required {
		if !seen[key] {
			d.add(n, fmt.Sprintf("%s: key %q is missing", what, key), "")
		}
	}
}

func suggestKey(key string, known fields) string {
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	if near := diag.Nearest(key, names, 1); len(near) > 0 {
		return fmt.Sprintf("did you mean %q?", near[0])
	}
	return "known here: " + strings.Join(sorted(names), ", ")
}

// sequence hands each element of a sequence to read. An empty sequence is a finding unless
// mayBeEmpty.
func (d *document) sequence(n *yaml.Node, what string, mayBeEmpty bool, read func(*yaml.Node)) {
	if n.Kind != yaml.SequenceNode {
		d.add(n, fmt.Sprintf("%s: a list belongs here, not %s", what, kindName(n)),
			"write it as [one, two] or as lines that start with \"- \"")
		return
	}
	if len(n.Content) == 0 && !mayBeEmpty {
		d.add(n, what+": the list is empty", "")
	}
	for _, element := range n.Content {
		if element.Kind == yaml.AliasNode {
			d.add(element, "aliases are not allowed here", "write the value out")
			continue
		}
		read(element)
	}
}

// text returns a reader of a string that check accepts. Numbers are not strings: version: 0.10
// would become 0.1.
func (d *document) string(what string, to *string, checks ...func(string) error) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
			hint := ""
			if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
				hint = fmt.Sprintf("put it in quotes: %q", n.Value)
			}
			d.add(n, fmt.Sprintf("%s: a text belongs here, not %s", what, kindName(n)), hint)
			return
		}
		for _, check := range checks {
			if err := check(n.Value); err != nil {
				d.add(n, fmt.Sprintf("%s: %v", what, err), "")
				return
			}
		}
		*to = n.Value
	}
}

// boolean returns a reader of true and false.
func (d *document) boolean(what string, to *bool) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
			d.add(n, fmt.Sprintf("%s: true or false belongs here, not %s", what, kindName(n)), "")
			return
		}
		*to = strings.EqualFold(n.Value, "true")
	}
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.Tag {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!bool":
		return "the truth value " + n.Value
	case "!!timestamp":
		return "the date " + n.Value
	}
	return fmt.Sprintf("%q", n.Value)
}
