package compile

import (
	"bytes"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// Chooser is a function that does what the code of an indirect function (IFUNC) does: it returns
// the address of a function.
type Chooser struct {
	Name string `json:"name"`
	// functions of its source whose addresses it takes, sorted
	Returns []string `json:"returns,omitempty"`
}

var (
	// definedFunction matches the definition of a function in what gcc writes for -aux-info: its
	// type and its name.
	definedFunction = lazyregexp.New(`^/\* .*:[0-9]+:[NO]F \*/ (?:extern|static) ` +
		`([^;]*?)([A-Za-z_$][\w$]*) \([^*]`)
	// noParameters matches what is after the name of a function without parameters.
	noParameters = lazyregexp.New(`^void\)(\) \(|;)`)
	typeName     = lazyregexp.New(`^(const |volatile )*[A-Za-z_]\w* $`)
)

// choosersIn returns the functions of a source that choose an implementation, by their types: they
// have no parameter, and return a pointer to a function. Sources also declare them with void *, as
// glibc's do, or with a name for a type; then the function must use nothing but addresses, one of
// them of a function of the source. prototypes is what gcc writes for -aux-info.
func choosersIn(prototypes []byte, uses map[string][]string) []Chooser {
	// of the latter, whether it is certain
	functions, candidates := map[string]bool{}, map[string]bool{}
	for line := range bytes.Lines(prototypes) {
		m := definedFunction().FindSubmatchIndex(line)
		if m == nil {
			continue
		}
		result, name := string(line[m[2]:m[3]]), string(line[m[4]:m[5]])
		functions[name] = true
		end := noParameters().FindSubmatch(line[m[1]-1:])
		switch {
		case end == nil:
		case len(end[1]) > 1 && strings.HasSuffix(result, "(*"):
			candidates[name] = true
		case strings.HasSuffix(result, "*"), typeName().MatchString(result) &&
			!slices.Contains(basicTypes, strings.Fields(result)[len(strings.Fields(result))-1]):
			candidates[name] = false
		}
	}
	var found []Chooser
	for name, certain := range candidates {
		c := Chooser{Name: name}
		for _, use := range uses[name] {
			address, is := strings.CutPrefix(use, ulp.AddressOf)
			if !is { // a call, or a variable: it may return anything
				c.Returns = nil
				break
			}
			if functions[address] && !slices.Contains(c.Returns, address) {
				c.Returns = append(c.Returns, address)
			}
		}
		if slices.Sort(c.Returns); certain || len(c.Returns) > 0 {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b Chooser) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// basicTypes are types of one word that no pointer has.
var basicTypes = []string{"void", "char", "short", "int", "long", "float", "double", "signed",
	"unsigned", "_Bool"}
