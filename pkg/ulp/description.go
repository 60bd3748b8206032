package ulp

import (
	"fmt"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/diag"
)

// Description says in words what a live patch replaces: the .dsc file that is packed into a
// container, or the .in file that is a template of many.
//
// The file has one item per line: the container's name first, then "@" and the target, then
// "old:new" for each function and "#variable:pointer" for each reference to the target's private
// data. Empty lines and lines that begin with "!", which are comments, may stand anywhere.
// [ParseDescription] reads it, [Description.String] writes it and [Description.Expand] makes the
// description for one build out of a template.
type Description struct {
	File     string   // as the person named it; used in diagnostics only
	Comments []string // text after each "!", without the line's end, in order
	// the live patch's file, e.g. libc_2.31-150300.26.5_livepatch1.so; may be a path
	Container  Name
	Target     Name          // the library to patch: path of its ELF file or of its catalogue
	Functions  []Replacement // in order
	References []Reference   // in the order of the file; the metadata has them the other way round

	lines []string // the file, for diagnostics; nil in a description that was not parsed
}

// Name is a word of the description and where it stands. The position is zero if the description
// was not parsed.
type Name struct {
	Text string
	Pos  diag.Pos
}

// String returns the word.
func (n Name) String() string { return n.Text }

// Replacement is a line "old:new": all calls of the target's function Old go to the container's
// function New.
type Replacement struct {
	// Old may have a symbol version: bar@V1, or bar@@V2 for the default one. It may be a pattern in
	// a template: see [Description.Expand].
	Old Name
	New Name
}

// Reference is a line "#variable:pointer": before the patch becomes active the container's pointer
// is set to the address of the target's variable, which the container could not link to because it
// is not exported. If the pointer's name begins with [OriginalPrefix], the variable is a function
// that the live patch replaces, and the pointer is set to the former code of that. Such a line is
// needed only where the pointer's name does not tell the function.
type Reference struct {
	Variable Name // in the target; it may have a symbol version
	Pointer  Name // in the container: 8 bytes, or the 16 bytes of a {module, offset} pair if TLS
	TLS      bool // "#%": the variable is thread-local
	Explicit bool // ":hex:hex" was given, so that the symbols are not looked up
	// TargetOffset is the variable's address in the target's file, or its offset in the target's
	// thread-local storage. 0 is as good as not given: the variable is looked up.
	TargetOffset uint64
	// the pointer's address in the container; 0: it is looked up by name when the patch is applied
	PatchOffset uint64
	Pos         diag.Pos
}

// String returns the description in its canonical form: comments, container, target, functions,
// references, one per line. Parsing it again gives an equal description, but for the positions, if
// the parts are such as [ParseDescription] lets through.
func (d *Description) String() string {
	var b strings.Builder
	for _, c := range d.Comments {
		b.WriteString("!" + c + "\n")
	}
	b.WriteString(d.Container.Text + "\n@" + d.Target.Text + "\n")
	for _, r := range d.Functions {
		b.WriteString(r.Old.Text + ":" + r.New.Text + "\n")
	}
	for _, r := range d.References {
		b.WriteString(r.String() + "\n")
	}
	return b.String()
}

// String returns the reference as a line of a description, without the line's end.
func (r Reference) String() string {
	mark := "#"
	if r.TLS {
		mark = "#%"
	}
	line := mark + r.Variable.Text + ":" + r.Pointer.Text
	if r.Explicit {
		line += fmt.Sprintf(":%x:%x", r.TargetOffset, r.PatchOffset)
	}
	return line
}

// finding returns a diagnostic that underlines the word n where it stands in the file. After an
// expansion that is the pattern or placeholder which n was made of.
func (d *Description) finding(n Name, err error, format string, args ...any) *diag.Diagnostic {
	found := &diag.Diagnostic{Pos: n.Pos, Length: len(n.Text),
		Message: fmt.Sprintf(format, args...), Err: err}
	if n.Pos.File == "" {
		found.File = d.File
	}
	if n.Pos.Line < 1 || n.Pos.Line > len(d.lines) || n.Pos.Column < 1 {
		return found
	}
	found.Source = d.lines[n.Pos.Line-1]
	rest := found.Source[min(n.Pos.Column-1, len(found.Source)):]
	if !strings.HasPrefix(rest, n.Text) {
		written, _, _ := strings.Cut(rest, ":")
		found.Length = len(written)
	}
	return found
}
