package abi

import (
	"cmp"
	"io"
	"maps"
	"slices"
	"strings"
)

// Options tell Read about the file.
type Options struct {
	// BuildID is the build-id that the file must have, in hexadecimal, "" for any.
	BuildID string
	// Alt opens the supplementary file of dwz to which the file refers, by its name in the file
	// and its build-id.
	Alt func(name, buildID string) (io.ReaderAt, error)
}

// Read reads the facts from a library's debuginfo, or from a library that was not stripped.
func Read(r io.ReaderAt, o Options) (*Facts, error) {
	main, err := readSections(r)
	if err != nil {
		return nil, err
	}
	if main.object {
		return nil, &FormatError{"ELF", errObject}
	}
	if o.BuildID != "" && main.buildID != o.BuildID {
		return nil, &BuildIDError{Want: o.BuildID, Got: main.buildID}
	}
	alt, err := main.openAlt(o)
	if err != nil {
		return nil, err
	}
	f := &Facts{BuildID: main.buildID}
	w := walker{tables: &tables{}, facts: f, alt: alt, strings: map[string]string{},
		left: maxEntries}
	lines := &lineTables{tables: w.tables}
	if w.data, err = main.dwarf(); err != nil {
		return nil, err
	}
	if err := w.walk(main.data["info"]); err != nil {
		return nil, err
	}
	lines.main = w.data
	if alt != nil {
		if w.data, err = alt.dwarf(); err != nil {
			return nil, err
		}
		w.file = inAlt
		if err := w.walk(alt.data["info"]); err != nil {
			return nil, err
		}
		lines.alt = w.data
	}
	collect(f, w.tables, main, lines)
	f.index()
	return f, nil
}

// openAlt reads the supplementary file, nil if there is none.
func (s *sections) openAlt(o Options) (*sections, error) {
	name, id := s.altLink()
	if name == "" {
		return nil, nil
	}
	if o.Alt == nil {
		return nil, &AltError{Name: name, BuildID: id}
	}
	r, err := o.Alt(name, id)
	if err != nil {
		return nil, &AltError{Name: name, BuildID: id, Err: err}
	}
	alt, err := readSections(r)
	if err != nil {
		return nil, &AltError{Name: name, BuildID: id, Err: err}
	}
	if got := alt.supplementaryID(); got != id {
		return nil, &AltError{Name: name, BuildID: id, Err: &BuildIDError{Want: id, Got: got}}
	}
	return alt, nil
}

// collect turns the tables into facts.
func collect(f *Facts, t *tables, s *sections, lines *lineTables) {
	n := &namer{tables: t, names: make([]string, len(t.types)), bases: map[int]string{}}
	c := &collector{namer: n, facts: f, lines: lines, seen: make([]bool, len(t.types)),
		known: map[uint64]bool{}}
	sources := c.functions(s)
	c.uses(sources)
	c.variables(sources)
	for _, at := range t.used {
		c.reach(at)
	}
	c.follow()
}

// functions collects the functions with code in the library, and returns where each entry's facts
// are, -1 for functions that are only declared.
func (c *collector) functions(s *sections) []int {
	sources := make([]int, len(c.tables.functions))
	wanted := make([]bool, len(sources))
	for i := range sources {
		sources[i] = c.source(i)
		wanted[sources[i]] = wanted[sources[i]] || len(c.tables.functions[i].places) > 0
	}
	for _, u := range c.inlined {
		if i := c.functionAt(u.origin); i >= 0 {
			wanted[sources[i]] = true
		}
	}
	c.link(sources, wanted)
	facts := make([]int, len(sources))
	for i := range facts {
		facts[i] = -1
		if wanted[sources[i]] && sources[i] == i && c.tables.functions[i].name != "" {
			facts[i] = len(c.facts.Functions)
			c.facts.Functions = append(c.facts.Functions, c.prototype(&c.tables.functions[i]))
		}
	}
	for i, source := range sources {
		if sources[i] = facts[source]; sources[i] < 0 {
			continue
		}
		d, f := &c.tables.functions[i], &c.facts.Functions[sources[i]]
		if len(d.places) == 0 {
			continue
		}
		if u := c.units[d.unit].index; u >= 0 {
			f.Unit = u
		}
		for _, place := range d.places {
			f.Addresses = append(f.Addresses, place)
			for _, name := range s.symbols[place] {
				if isClone(name) {
					f.Clones = append(f.Clones, name)
				} else {
					f.Symbols = append(f.Symbols, name)
				}
			}
		}
	}
	for i := range c.facts.Functions {
		f := &c.facts.Functions[i]
		f.Addresses, f.Symbols = sortCompact(f.Addresses), sortCompact(f.Symbols)
		f.Clones = sortCompact(f.Clones)
	}
	return sources
}

// link replaces declarations of external functions by the definitions in other units.
func (c *collector) link(sources []int, wanted []bool) {
	defined := map[string]int{}
	for i := range sources {
		if d := &c.tables.functions[i]; sources[i] == i && wanted[i] && d.external {
			defined[d.name] = i
		}
	}
	for i, source := range sources {
		d := &c.tables.functions[source]
		if to, ok := defined[d.name]; ok && !wanted[source] && d.external {
			sources[i] = to
		}
	}
}

// isClone reports whether a symbol is of a copy of a function that the compiler made.
func isClone(symbol string) bool {
	_, suffix, ok := strings.Cut(symbol, ".")
	if !ok {
		return false
	}
	for word := range strings.SplitSeq(suffix, ".") {
		switch word {
		case "isra", "constprop", "part", "cold", "localalias":
			return true
		}
	}
	return false
}

// prototype returns what a function's entry says.
func (c *collector) prototype(d *functionDIE) Function {
	f := Function{Name: d.name, Unit: c.units[d.unit].index, Line: int(d.line),
		File: c.lines.file(int(d.unit), d.file), Result: c.take(d.target),
		Variadic: d.variadic, External: d.external}
	for _, p := range c.parts[d.first : d.first+d.n] {
		f.Params = append(f.Params, Param{p.name, c.take(p.target)})
	}
	return f
}

// uses collects where functions were inlined, and where they are called.
func (c *collector) uses(sources []int) {
	count := func(uses []use, list func(*Function) *[]Copy) {
		counts := map[[2]int]int{}
		for _, u := range uses {
			i := c.functionAt(u.origin)
			if i >= 0 && sources[i] >= 0 && sources[u.into] >= 0 {
				counts[[2]int{sources[i], sources[u.into]}]++
			}
		}
		keys := slices.SortedFunc(maps.Keys(counts), func(a, b [2]int) int {
			return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]))
		})
		for _, k := range keys {
			to := list(&c.facts.Functions[k[0]])
			*to = append(*to, Copy{c.facts.Functions[k[1]].Name, counts[k]})
		}
	}
	count(c.inlined, func(f *Function) *[]Copy { return &f.Inlined })
	count(c.calls, func(f *Function) *[]Copy { return &f.Callers })
}

// variables collects the variables with an address.
func (c *collector) variables(sources []int) {
	for i := range c.tables.variables {
		d := &c.tables.variables[i]
		if !d.placed {
			continue
		}
		v := Variable{Unit: c.units[d.unit].index, Address: d.address, TLS: d.tls}
		if d.function >= 0 && sources[d.function] >= 0 {
			v.Function = c.facts.Functions[sources[d.function]].Name
		}
		for range maxChain { // from the definition to the declaration
			if v.Name == "" {
				v.Name = d.name
			}
			if v.Type.Name == "" && d.target != noRef {
				v.Type = c.take(d.target)
			}
			if v.Line == 0 {
				v.File, v.Line = c.lines.file(int(d.unit), d.file), int(d.line)
			}
			v.External = v.External || d.external
			j := c.variableAt(d.origin)
			if j < 0 {
				break
			}
			d = &c.tables.variables[j]
		}
		if v.Name != "" {
			c.facts.Variables = append(c.facts.Variables, v)
		}
	}
}

// take returns a type and notes that it is used.
func (c *collector) take(at ref) Type {
	c.reach(at)
	return c.name(at)
}

func sortCompact[T cmp.Ordered](s []T) []T {
	slices.Sort(s)
	return slices.Compact(s)
}
