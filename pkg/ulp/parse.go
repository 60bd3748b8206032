package ulp

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/diag"
)

// What a description file may hold at most. Real ones have some dozens of lines.
const (
	maxDescription = 1 << 20 // bytes
	maxContent     = 10_000  // lines that are neither empty nor comments
)

// ErrSyntax means that a description breaks the rules of its format.
var ErrSyntax = errors.New("not a description")

// ParseDescription reads the description text; file is its name for the positions. Line ends may be
// LF or CRLF.
//
// The error is a [diag.List] with everything that is wrong in the file, each wrapping [ErrSyntax].
// A file of more than 1 MiB or of more than 10,000 lines with content is refused.
//
// What is accepted is what libpulp's packer accepts, with two differences: what the packer would
// silently take for something else, such as a second colon, an empty name or a blank at the end of
// a name, is an error here; and the lines "*FILE", by which a patch names others that it depends
// on, are refused, as live patches are cumulative.
func ParseDescription(file string, text []byte) (*Description, error) {
	d, err := ParsePartialDescription(file, text)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// ParsePartialDescription is ParseDescription for callers that look for more mistakes where there
// are some already: together with the error it returns what there is without the lines that are
// wrong. A name that is missing has no text.
func ParsePartialDescription(file string, text []byte) (*Description, error) {
	if len(text) > maxDescription {
		return &Description{File: file}, diag.List{{Pos: diag.Pos{File: file}, Err: ErrSyntax,
			Message: fmt.Sprintf("the file has %d bytes; a description has at most %d", len(text),
				maxDescription)}}
	}
	p := parser{d: &Description{File: file, lines: splitLines(text)}}
	for i, line := range p.d.lines {
		p.row = i + 1
		if !p.line(line) {
			break
		}
	}
	p.finish()
	return p.d, p.errs.Err()
}

// splitLines returns the lines without their ends; the empty rest after the last line end is not a
// line.
func splitLines(text []byte) []string {
	var lines []string
	for len(text) > 0 {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		lines = append(lines, strings.TrimRight(string(line), "\r"))
		text = rest
	}
	return lines
}

// parser is the state of one ParseDescription.
type parser struct {
	d       *Description
	errs    diag.List
	row     int  // of the line being read, from 1
	content int  // lines so far that were neither empty nor comments
	noHead  bool // it was reported that there is no container where it belongs
	noLib   bool // it was reported that there is no target where it belongs
}

// line reads one line. It returns false if the rest of the file is not worth reading.
func (p *parser) line(s string) bool {
	if i := strings.IndexByte(s, 0); i >= 0 {
		p.fail(i, 1, "NUL byte in a text file",
			"libpulp would stop reading the line here; remove the byte")
		p.noHead = p.noHead || p.d.Container.Text == "" && s[0] != '!'
		p.noLib = p.noLib || s[0] == '@'
		return true
	}
	switch {
	case s == "":
		return true
	case s[0] == '!':
		p.d.Comments = append(p.d.Comments, s[1:])
		return true
	}
	p.content++
	if p.content > maxContent {
		p.fail(0, 1, fmt.Sprintf("more than %d lines with content", maxContent), "")
		return false
	}
	switch {
	case strings.HasPrefix(s, "\ufeff"):
		p.fail(0, 3, "byte order mark at the start of the line",
			"save the file as UTF-8 without a byte order mark")
		p.noHead = true
	case strings.Trim(s, " \t\r") == "":
		p.fail(0, len(s), "line of blanks", "make the line empty: libpulp takes it for the name "+
			"of a function")
	default:
		p.item(s)
	}
	return true
}

// item reads a line with content.
func (p *parser) item(s string) {
	if p.d.Container.Text == "" && !p.noHead {
		if s[0] != '@' && s[0] != '#' && s[0] != '*' && !strings.Contains(s, ":") {
			p.d.Container = p.path(s, 0)
			p.noHead = p.d.Container.Text == ""
			return
		}
		p.noHead = true
		p.fail(0, len(s), "expected the name of the container",
			"the first line that is neither empty nor a comment names the live patch's file, "+
				"e.g. libc_{version}-{release}_livepatch1.so")
	}
	target := p.d.Target.Text != ""
	switch {
	case s[0] == '@':
		p.target(s)
	case s[0] == '*' && !target:
		p.fail(0, len(s), "dependencies on other live patches are not supported",
			"make the patch cumulative: applying it reverts the earlier patches of the library")
	case !target && s[0] != '#' && !strings.Contains(s, ":") || strings.HasSuffix(s, ".so") &&
		!strings.Contains(s, ":"):
		p.secondContainer(s)
	default:
		p.change(s, target)
	}
}

func (p *parser) secondContainer(s string) {
	if p.d.Container.Text == "" {
		p.fail(0, len(s), "the container has to be named before everything else",
			"move this line to the top")
		return
	}
	p.fail(0, len(s), "second container: a description makes one live patch",
		fmt.Sprintf("the container %s is named in line %d", p.d.Container.Text,
			p.d.Container.Pos.Line))
}

func (p *parser) target(s string) {
	if old := p.d.Target; old.Text != "" {
		p.fail(0, len(s), "second target: a live patch changes one library",
			fmt.Sprintf("the target %s is named in line %d", old.Text, old.Pos.Line))
		return
	}
	p.d.Target = p.path(s, 1)
	p.noLib = p.noLib || p.d.Target.Text == ""
}

// change reads a line that names a function or a variable; target tells whether the target was
// named before it.
func (p *parser) change(s string, target bool) {
	if !target && !p.noLib {
		p.noLib = true
		p.fail(0, len(s), "this line stands before the target's",
			"name the library first: @PATH, e.g. @/lib64/libc.so.6")
	}
	if s[0] == '#' {
		p.reference(s)
		return
	}
	old, rest, ok := strings.Cut(s, ":")
	if !ok {
		p.fail(len(s), 1, `expected ":" and the name of the replacement`, "write OLD:NEW")
		return
	}
	if i := strings.IndexByte(rest, ':'); i >= 0 {
		p.fail(len(old)+1+i, len(rest)-i, `second ":" in the line`,
			"write OLD:NEW; a line for a variable begins with #")
		rest = rest[:i]
	}
	from, ok1 := p.name(old, 0, "the name of the function to replace")
	to, ok2 := p.name(rest, len(old)+1, "the name of the replacement")
	if ok1 && ok2 {
		p.d.Functions = append(p.d.Functions, Replacement{from, to})
	}
}

func (p *parser) reference(s string) {
	r := Reference{Pos: p.at(0)}
	col := 1
	if strings.HasPrefix(s, "#%") {
		r.TLS, col = true, 2
	}
	fields := strings.Split(s[col:], ":")
	switch {
	case len(fields) == 1:
		p.fail(len(s), 1, `expected ":" and the name of the pointer`,
			"write #VARIABLE:POINTER; comments begin with !")
		return
	case len(fields) == 3:
		p.fail(len(s), 1, `expected ":" and the offset of the pointer in the container`,
			"write #VARIABLE:POINTER:OFFSET:OFFSET, both in hexadecimal, or leave both out")
		return
	case len(fields) > 4:
		extra := len(strings.Join(fields[4:], ":"))
		p.fail(len(s)-extra-1, extra+1, `":" behind the last offset`, "")
		return
	}
	var ok [4]bool
	r.Variable, ok[0] = p.name(fields[0], col, "the name of the variable in the target")
	col += len(fields[0]) + 1
	r.Pointer, ok[1] = p.name(fields[1], col, "the name of the pointer in the container")
	ok[2], ok[3] = true, true
	if len(fields) == 4 {
		r.Explicit = true
		col += len(fields[1]) + 1
		r.TargetOffset, ok[2] = p.offset(fields[2], col, "the offset of the variable in the target")
		r.PatchOffset, ok[3] = p.offset(fields[3], col+len(fields[2])+1,
			"the offset of the pointer in the container")
	}
	if ok == [4]bool{true, true, true, true} {
		p.d.References = append(p.d.References, r)
	}
}

// name checks the word s at col (from 0), what being what is expected there.
func (p *parser) name(s string, col int, what string) (Name, bool) {
	if s == "" {
		p.fail(col, 1, "expected "+what, "")
		return Name{}, false
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }); i >= 0 {
		p.fail(col+i, 1, "blank or control character in "+what,
			"names stand directly beside the colon and the line's end")
		return Name{}, false
	}
	return Name{s, p.at(col)}, true
}

// path checks the file name that takes the line s from col on. An impossible one is reported and
// gives the zero Name.
func (p *parser) path(s string, col int) Name {
	name := s[col:]
	if name == "" {
		p.fail(col, 1, "expected the path of the library", "write @PATH, e.g. @/lib64/libc.so.6")
		return Name{}
	}
	if i := strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		p.fail(col+i, 1, "control character in a file name", "")
		return Name{}
	}
	if name[0] == ' ' || name[len(name)-1] == ' ' {
		i := 0
		if name[0] != ' ' {
			i = len(strings.TrimRight(name, " "))
		}
		p.fail(col+i, 1, "blank at the start or end of a file name", "remove the blank")
		return Name{}
	}
	return Name{name, p.at(col)}
}

func (p *parser) offset(s string, col int, what string) (uint64, bool) {
	digits := strings.TrimPrefix(strings.TrimPrefix(s, "0x"), "0X")
	v, err := strconv.ParseUint(digits, 16, 63)
	if err != nil {
		p.fail(col, max(1, len(s)), "expected "+what+" in hexadecimal",
			"at most 16 digits 0-9 and a-f, below 8000000000000000")
		return 0, false
	}
	return v, true
}

// finish reports what is missing from the whole file.
func (p *parser) finish() {
	nowhere := diag.Pos{File: p.d.File}
	if p.d.Container.Text == "" && !p.noHead {
		p.errs = append(p.errs, &diag.Diagnostic{Pos: nowhere, Message: "no container is named",
			Err: ErrSyntax, Hint: "the first line that is neither empty nor a comment is the " +
				"name of the live patch's file"})
	}
	if p.d.Target.Text == "" && !p.noLib {
		p.errs = append(p.errs, &diag.Diagnostic{Pos: nowhere, Message: "no target is named",
			Err: ErrSyntax, Hint: "name the library in a line of its own: @PATH, e.g. " +
				"@/lib64/libc.so.6"})
	}
}

// at returns the position of column col, from 0, in the line being read.
func (p *parser) at(col int) diag.Pos {
	return diag.Pos{File: p.d.File, Line: p.row, Column: col + 1}
}

func (p *parser) fail(col, length int, message, hint string) {
	p.errs = append(p.errs, &diag.Diagnostic{Pos: p.at(col), Length: length,
		Source: p.d.lines[p.row-1], Message: message, Hint: hint, Err: ErrSyntax})
}
