package abi

// Facts is what debuginfo tells about one library.
type Facts struct {
	BuildID   string     `json:"build_id,omitempty"` // hexadecimal
	Units     []Unit     `json:"units"`
	Functions []Function `json:"functions"`
	Variables []Variable `json:"variables"`
	Layouts   []Layout   `json:"layouts"`

	byFunction map[string][]int
	byLayout   map[string][]int
}

// Unit is one compilation unit.
type Unit struct {
	Name     string `json:"name"`
	Producer string `json:"producer,omitempty"` // the compiler with its version and options
	LTO      bool   `json:"lto,omitempty"`      // compiled for link-time optimization
}

// Function is a function of the library's source. It has no addresses if all of its copies were
// inlined.
type Function struct {
	Name      string   `json:"name"`
	Unit      int      `json:"unit"` // index into Units
	File      string   `json:"file,omitempty"`
	Line      int      `json:"line,omitempty"`
	Result    Type     `json:"result"`
	Params    []Param  `json:"params,omitempty"`
	Variadic  bool     `json:"variadic,omitempty"`
	External  bool     `json:"external,omitempty"`
	Addresses []uint64 `json:"addresses,omitempty"` // of its own code, clones included
	Symbols   []string `json:"symbols,omitempty"`   // at these addresses
	Clones    []string `json:"clones,omitempty"`    // symbols such as f.isra.0 and f.cold
	Inlined   []Copy   `json:"inlined,omitempty"`   // where its code was inlined
	Callers   []Copy   `json:"callers,omitempty"`   // where it is called by name
}

// Copy is a function that contains copies of another, or calls it.
type Copy struct {
	Into  string `json:"into"`
	Count int    `json:"count"`
}

// Param is a parameter of a function.
type Param struct {
	Name string `json:"name,omitempty"`
	Type Type   `json:"type"`
}

// Type is a reference to a type by its name as in C. Size is -1 if it is not known.
type Type struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// Variable is a variable with a place of its own in the library.
type Variable struct {
	Name     string `json:"name"`
	Unit     int    `json:"unit"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Type     Type   `json:"type"`
	Function string `json:"function,omitempty"` // whose static variable it is
	Address  uint64 `json:"address,omitempty"`  // for a thread-local variable, in the TLS block
	TLS      bool   `json:"tls,omitempty"`
	External bool   `json:"external,omitempty"`
}

// Kind is a kind of named type.
type Kind string

// Kinds of layouts.
const (
	Struct  Kind = "struct"
	Union   Kind = "union"
	Enum    Kind = "enum"
	Typedef Kind = "typedef"
)

// Layout describes a struct, union, enum or typedef. A name can have several, in different units.
type Layout struct {
	Name    string   `json:"name"` // as in Type: "struct malloc_state"
	Kind    Kind     `json:"kind"`
	Size    int64    `json:"size"`
	Unit    int      `json:"unit"` // the first unit that has it; -1 if it is shared by several
	File    string   `json:"file,omitempty"`
	Line    int      `json:"line,omitempty"`
	Target  string   `json:"target,omitempty"` // of a typedef
	Members []Member `json:"members,omitempty"`
	Values  []Value  `json:"values,omitempty"` // of an enum
}

// Member is a member of a struct or union.
type Member struct {
	Name      string `json:"name,omitempty"`
	Type      Type   `json:"type"`
	Offset    int64  `json:"offset"`               // in bytes; of a bit-field, rounded down
	BitOffset int64  `json:"bit_offset,omitempty"` // of a bit-field, from the start of the type
	BitSize   int64  `json:"bit_size,omitempty"`
	Line      int    `json:"line,omitempty"`
}

// Value is an enumerator.
type Value struct {
	Name  string `json:"name"`
	Value int64  `json:"value"`
}

// index prepares the facts for lookups by name.
func (f *Facts) index() {
	f.byFunction, f.byLayout = map[string][]int{}, map[string][]int{}
	for i := range f.Functions {
		f.byFunction[f.Functions[i].Name] = append(f.byFunction[f.Functions[i].Name], i)
	}
	for i := range f.Layouts {
		f.byLayout[f.Layouts[i].Name] = append(f.byLayout[f.Layouts[i].Name], i)
	}
}

// Function returns the functions with a name: a static function's name can occur in several units.
func (f *Facts) Function(name string) []*Function {
	var found []*Function
	for _, i := range f.byFunction[name] {
		found = append(found, &f.Functions[i])
	}
	return found
}

// Layout returns the layouts of the type with a name, such as "struct malloc_state".
func (f *Facts) Layout(name string) []*Layout {
	var found []*Layout
	for _, i := range f.byLayout[name] {
		found = append(found, &f.Layouts[i])
	}
	return found
}
