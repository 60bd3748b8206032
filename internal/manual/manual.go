// Package manual writes man pages in the language of man(7).
//
// Its text is what the commands' --help prints, taken literally: nothing in it is markup, so that
// no name in angle brackets and no indented line is lost. The same page gives the same bytes; there
// is no time in it but the one it is given.
package manual

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// Page is a man page.
type Page struct {
	Name     string // of the page: "lpbuild-build"
	Section  int    // 1 (commands) if 0; 5 is for files
	Summary  string // one line
	Synopsis []string
	// Text is paragraphs with blank lines between them. A line of capital letters alone begins a
	// section of its own; indented lines stand as they are.
	Text     string
	Options  []Option
	Examples string    // indented lines
	SeeAlso  []string  // names of pages, of section 1 or with their section: "lpbuild.yaml(5)"
	Date     time.Time // of the page; its day is shown
}

// Option is a flag of the command.
type Option struct {
	Names string // "-j, --jobs"
	Value string // what it takes, "" if nothing
	Text  string
}

// Roff returns the page's source.
func (p *Page) Roff() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, ".\\\" Written by lpbuild generate from the commands themselves.\n")
	section, volume := 1, "User Commands"
	if p.Section == 5 {
		section, volume = 5, "File Formats"
	}
	fmt.Fprintf(&b, ".TH %s %d %s lpbuild \"%s\"\n", strings.ToUpper(escape(p.Name)), section,
		p.Date.UTC().Format("2006-01-02"), volume)
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n.SH SYNOPSIS\n.nf\n", escape(p.Name), escape(p.Summary))
	for _, line := range p.Synopsis {
		fmt.Fprintf(&b, "\\fB%s\\fR\n", escape(line))
	}
	b.WriteString(".fi\n.SH DESCRIPTION\n")
	own := map[string]string{} // sections of the text, which come after the options
	var order []string
	for i, s := range sections(p.Text) {
		if i == 0 {
			paragraphs(&b, s.text)
			continue
		}
		order, own[s.title] = append(order, s.title), s.text
	}
	if len(p.Options) > 0 {
		b.WriteString(".SH OPTIONS\n")
	}
	for _, o := range p.Options {
		o.write(&b)
	}
	for _, title := range order {
		fmt.Fprintf(&b, ".SH %s\n", title)
		paragraphs(&b, own[title])
	}
	if p.Examples != "" {
		b.WriteString(".SH EXAMPLES\n")
		paragraphs(&b, p.Examples)
	}
	if len(p.SeeAlso) > 0 {
		b.WriteString(".SH SEE ALSO\n")
		for i, name := range p.SeeAlso {
			comma := ","
			if i == len(p.SeeAlso)-1 {
				comma = ""
			}
			name, section, ok := strings.Cut(name, "(")
			if !ok {
				section = "1)"
			}
			fmt.Fprintf(&b, ".BR %s (%s%s\n", escape(name), section, comma)
		}
	}
	return b.Bytes()
}

func (o Option) write(b *bytes.Buffer) {
	fmt.Fprintf(b, ".TP\n\\fB%s\\fR", escape(o.Names))
	if o.Value != "" {
		fmt.Fprintf(b, " \\fI%s\\fR", escape(o.Value))
	}
	b.WriteString("\n")
	for line := range strings.Lines(o.Text) {
		b.WriteString(safe(strings.TrimSpace(line)) + "\n")
	}
}

// section is a heading and what stands below it.
type section struct{ title, text string }

// sections takes a text apart at its headings; the first section has none.
func sections(text string) []section {
	all := []section{{}}
	for line := range strings.Lines(text) {
		if title := strings.TrimSpace(line); isHeading(line) {
			all = append(all, section{title: title})
			continue
		}
		all[len(all)-1].text += line
	}
	return all
}

// isHeading reports whether a line is a heading: two or more capital letters and blanks, not
// indented.
func isHeading(line string) bool {
	line = strings.TrimRight(line, "\n")
	return len(line) > 1 && line[0] != ' ' &&
		strings.Trim(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZ ") == ""
}

// paragraphs writes text: filled, but for lines that are indented.
func paragraphs(b *bytes.Buffer, text string) {
	literal, first := false, true
	for line := range strings.Lines(strings.Trim(text, "\n") + "\n") {
		line = strings.TrimRight(line, "\n")
		indented := strings.HasPrefix(line, " ")
		switch {
		case strings.TrimSpace(line) == "":
			if literal {
				b.WriteString(".fi\n.RE\n")
				literal = false
			}
			if !first {
				b.WriteString(".PP\n")
			}
			continue
		case indented && !literal:
			b.WriteString(".RS 2\n.nf\n")
			literal = true
		case !indented && literal:
			b.WriteString(".fi\n.RE\n")
			literal = false
		}
		if indented {
			line = strings.TrimPrefix(line, "  ")
		}
		b.WriteString(safe(line) + "\n")
		first = false
	}
	if literal {
		b.WriteString(".fi\n.RE\n")
	}
}

// safe returns a line of text that roff does not take for a request.
func safe(line string) string {
	line = escape(line)
	if strings.HasPrefix(line, ".") {
		line = `\&` + line
	}
	return line
}

// escape writes the characters that roff would read, or show, as something else: a copied "-" or
// "'" must be the one that the shell knows.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~",
		`\(ti`).Replace(s)
}
