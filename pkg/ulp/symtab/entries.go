package symtab

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// Entries says at which functions of a library a live patch may put detours.
type Entries string

// The two choices. The zero value is the first one, or no choice at all: the function that takes it
// says which.
const (
	// EntriesNOPs is those that the compiler left NOPs at, for any engine.
	EntriesNOPs Entries = "nops"
	// EntriesAny is others, too, if it is proven that a jump can be written over their first
	// instructions. Only the native engine does that. See [Library.EntryProof].
	EntriesAny Entries = "any"
)

// ParseEntries returns the choice of that name.
func ParseEntries(s string) (Entries, error) {
	if e := Entries(s); e == EntriesNOPs || e == EntriesAny {
		return e, nil
	}
	return "", fmt.Errorf("%.40q: must be %s or %s", s, EntriesNOPs, EntriesAny)
}

// proofs are what package hotpatch says of functions of a library: of those that do not have NOPs
// as the native engine wants them whether a jump can be put there, or of those that have handlers
// that it is so.
type proofs []verdict

// verdict is what is true of some functions.
type verdict struct {
	why string   // why no jump can be put at their entries; "" if one can
	at  []uint64 // their addresses, ascending
}

// Bounds of what a catalogue may say.
const (
	maxVerdicts = 1 << 10
	maxWhy      = 200 // bytes
)

// find returns the verdict about a function. One that says no goes first, should there be two.
func (p proofs) find(addr uint64) (why string, ok bool) {
	for _, v := range p {
		if _, found := slices.BinarySearch(v.at, addr); found && (!ok || v.why != "") {
			why, ok = v.why, true
		}
	}
	return why, ok
}

// HasProofs reports whether it is known of each function of the library whether the native engine
// can put a detour at its entry: the library was read with [LibraryOptions].Prove, or from a
// catalogue of such a one, by the same rules. Of architectures that the native engine does not know
// it is false.
func (l *Library) HasProofs() bool { return l.proofs != nil }

// Checksum returns the checksum of the library's file (elfx.Checksum), which the proofs are about;
// 0 if it is not known, or nothing was proven.
func (l *Library) Checksum() uint32 {
	if l.proofs == nil {
		return 0
	}
	return l.checksum
}

// EntryProof reports whether the native engine can put a detour at the function at an address that
// lacks the NOPs which that engine looks for: by the proof that the engine itself asks for (package
// hotpatch), and by a search for branches in all of the library that may lead into what the jump
// replaces. why is the reason if it cannot, "" if it can. ok is false if nothing is known of such a
// function: it has the NOPs, or there are no proofs at all.
func (l *Library) EntryProof(addr uint64) (why string, ok bool) { return l.proofs.find(addr) }

// IsProven reports whether a jump can be put at a function without NOPs.
func (l *Library) IsProven(addr uint64) bool {
	why, ok := l.EntryProof(addr)
	return ok && why == ""
}

// append appends the proofs as the value of a key of the library. "proof" is the version of the
// rules by which they were made; the verdict without "why" has the functions at which a jump can be
// put.
func (p proofs) append(b []byte, key string, version int64) []byte {
	b = append(append(append(b, ",\n\""...), key...), "\":{\"proof\":"...)
	b = strconv.AppendInt(b, version, 10)
	b = append(b, ",\"verdicts\":["...)
	for i, v := range p {
		if i > 0 {
			b = append(b, ',')
		}
		if b = append(b, "\n{"...); v.why != "" {
			b = append(appendString(b, "\"why\":", v.why), ',')
		}
		b = appendList(append(b, "\"at\":"...), v.at, func(b []byte, addr uint64) []byte {
			return strconv.AppendUint(b, addr, 10)
		})
		b = append(b, '}')
	}
	return append(b, "]}"...)
}

// byRules reads an object that says by which rules its elements were made, "proof", and has them as
// the array listKey. It reports whether the rules are those that are wanted.
func (p *catalogueParser) byRules(want uint64, listKey string, element func() error) (bool, error) {
	version := uint64(0)
	err := p.object(func(key []byte) (err error) {
		switch string(key) {
		case "proof":
			version, err = p.address()
		case listKey:
			err = p.array(element)
		default:
			err = p.skip(2)
		}
		return err
	})
	return version == want, err
}

// proofs reads the value of "entries" or "unwinding". Proofs by other rules are read, and
// forgotten.
func (p *catalogueParser) proofs(want uint64) (proofs, error) {
	list := proofs{}
	known, err := p.byRules(want, "verdicts", func() error {
		v, err := p.verdict()
		if list = append(list, v); len(list) > maxVerdicts {
			err = p.fail("catalogue: verdicts", errors.New("has too many elements"))
		}
		return err
	})
	if !known {
		list = nil
	}
	return list, err
}

// verdict reads an element of "verdicts".
func (p *catalogueParser) verdict() (v verdict, err error) {
	err = p.object(func(key []byte) (err error) {
		switch string(key) {
		case "why":
			if v.why, err = p.text(); err == nil && (v.why == "" || len(v.why) > maxWhy) {
				err = p.fail("catalogue: why", errors.New("is not 1 to 200 bytes"))
			}
		case "at":
			n, err := p.count()
			if err != nil {
				return err
			}
			v.at = make([]uint64, 0, n)
			return p.array(func() error { return p.functionAddress(&v) })
		default:
			err = p.skip(4)
		}
		return err
	})
	return v, err
}

func (p *catalogueParser) functionAddress(v *verdict) error {
	addr, err := p.address()
	if n := len(v.at); err == nil && n > 0 && v.at[n-1] >= addr {
		err = p.fail("catalogue: at", errors.New("is not in ascending order"))
	}
	v.at = append(v.at, addr)
	return err
}
