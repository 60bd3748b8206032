package symtab

import (
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"math"

	"github.com/lpbuild/lpbuild/internal/elfx"
	"github.com/lpbuild/lpbuild/internal/hotpatch"
)

// ParseCatalogue reads the JSON that [Library.AppendCatalogue] and `ulp extract` write. Keys may be
// in any order; unknown ones are skipped; a known one may be there only once. An error is a
// *[FormatError].
//
// libpulp writes offsets and sizes as signed numbers of 32 bits. Negative ones are therefore read
// as what they were before in its catalogues, and are errors in ours. Larger ones it has cut off;
// that cannot be seen any more.
func ParseCatalogue(data []byte) (*Library, error) {
	if len(data) > maxFile {
		return nil, &FormatError{What: "catalogue", Err: fmt.Errorf("%w: larger than 2 GiB",
			ErrUnsupported)}
	}
	p := catalogueParser{
		scanner:  scanner{data: data},
		l:        &Library{symbols: new(symbols)},
		t:        newCatalogueTable(),
		negative: -1,
	}
	if err := p.parse(); err != nil {
		return nil, err
	}
	return p.l, nil
}

var (
	errMissing = errors.New("is missing")
	errTwice   = errors.New("is there twice")
	errName    = errors.New("is empty or has a NUL")
)

// catalogueParser fills a library.
type catalogueParser struct {
	scanner
	l        *Library
	seen     keys            // of the object that is being read
	t        *catalogueTable // into which symbols go
	negative int             // where a negative number is; -1: there is none
}

// keys is a set of keys: the bits of their numbers.
type keys uint32

// The keys of libraries, then those of symbols.
const (
	keyName keys = 1 << iota
	keyBuildID
	keySymbols
	keyArch
	keySONAME
	keyNeeded
	keyNeeds
	keyLivepatchable
	keyLandings
	keyEntries
	keyChecksum
	keyUnwinding
	keyParts
	keyCallers
	keyResolvers
	keyOffset
	keySize
	keyInfo
	keyOther
	keyVersion
	keyDefault
	keyDynamic
	keyUndefined
	keyPatchable
	keyWritable
	keyLanding

	keyUnknown  keys = 0
	wantLibrary      = keyName | keyBuildID | keySymbols
	wantSymbol       = keyName | keyOffset | keySize | keyInfo | keyOther
)

// note adds a key to those that were seen in the object.
func (p *catalogueParser) note(k keys) error {
	if p.seen&k != 0 {
		return p.fail("catalogue: key", errTwice)
	}
	p.seen |= k
	return nil
}

// all returns an error unless all the wanted keys were seen.
func (p *catalogueParser) all(want keys, what string) error {
	if p.seen&want != want {
		return p.fail(what, errMissing)
	}
	return nil
}

func (p *catalogueParser) parse() error {
	found := false
	err := p.object(func(key []byte) error {
		if string(key) != "library" {
			return p.skip(0)
		}
		if found {
			return p.fail("catalogue: library", errTwice)
		}
		found = true
		return p.library()
	})
	switch {
	case err != nil:
		return err
	case p.peek() != 0 || p.pos < len(p.data):
		return p.fail("catalogue: end", errors.New("something follows the JSON value"))
	case !found:
		return p.fail("catalogue: library", errMissing)
	}
	p.l.Complete = p.l.Arch != ""
	if p.l.Complete && p.negative >= 0 {
		p.pos = p.negative
		return p.fail("catalogue: number", errors.New("is negative"))
	}
	p.l.symbols.tables = append(p.l.symbols.tables, p.t.table())
	return nil
}

// library reads the value of "library".
func (p *catalogueParser) library() error {
	var seen keys // symbols have a set of their own
	err := p.object(func(key []byte) (err error) {
		p.seen = seen
		k := libraryKey(key)
		if err := p.note(k); err != nil {
			return err
		}
		seen = p.seen
		return p.libraryValue(k)
	})
	if err != nil {
		return err
	}
	p.seen = seen
	return p.all(wantLibrary, `catalogue: one of the library's "name", "buildid", "symbols"`)
}

func libraryKey(key []byte) keys {
	switch string(key) {
	case "name":
		return keyName
	case "buildid":
		return keyBuildID
	case "symbols":
		return keySymbols
	case "arch":
		return keyArch
	case "soname":
		return keySONAME
	case "needed":
		return keyNeeded
	case "needs":
		return keyNeeds
	case "livepatchable":
		return keyLivepatchable
	case "landings":
		return keyLandings
	case "entries":
		return keyEntries
	case "checksum":
		return keyChecksum
	case "unwinding":
		return keyUnwinding
	case "resolvers":
		return keyResolvers
	case "parts":
		return keyParts
	case "callers":
		return keyCallers
	}
	return keyUnknown
}

func (p *catalogueParser) libraryValue(k keys) (err error) {
	l := p.l
	switch k {
	case keyName:
		l.Name, err = p.text()
	case keyBuildID:
		l.BuildID, err = p.buildID()
	case keyArch:
		l.Arch, err = p.arch()
	case keySONAME:
		l.SONAME, err = p.text()
	case keyLivepatchable:
		l.Livepatchable, err = p.boolean()
	case keyLandings:
		l.Landings, err = p.boolean()
	case keyNeeded:
		return p.array(p.needed)
	case keyNeeds:
		n, err := p.count()
		if err != nil {
			return err
		}
		l.Needs = make([]Need, 0, n)
		return p.array(p.need)
	case keyEntries:
		l.proofs, err = p.proofs(hotpatch.Version)
	case keyChecksum:
		sum, err := p.address()
		if l.checksum = uint32(sum); err == nil && sum > math.MaxUint32 {
			err = p.fail("catalogue: checksum", errors.New("is no checksum of 32 bits"))
		}
		return err
	case keyUnwinding:
		l.handlers, err = p.proofs(hotpatch.HandlersVersion)
	case keyResolvers:
		l.resolvers, err = p.resolvers(hotpatch.ResolversVersion)
	case keyParts:
		l.parts, err = p.proofs(hotpatch.PartsVersion)
	case keyCallers:
		l.callers, err = p.proofs(hotpatch.RegistersVersion)
	case keySymbols:
		return p.symbols()
	default:
		return p.skip(1)
	}
	return err
}

// text reads a string for keeping.
func (p *catalogueParser) text() (string, error) {
	b, err := p.str()
	return string(b), err
}

// maxBuildID is the longest build-id in bytes; the usual one has 20.
const maxBuildID = 64

func (p *catalogueParser) buildID() ([]byte, error) {
	digits, err := p.str()
	if err != nil || len(digits) == 0 {
		return nil, err
	}
	id := make([]byte, hex.DecodedLen(len(digits)))
	if _, err := hex.Decode(id, digits); err != nil || len(id) > maxBuildID {
		return nil, p.fail("catalogue: buildid", errors.New("is not 1 to 64 bytes in hexadecimal"))
	}
	return id, nil
}

func (p *catalogueParser) arch() (Arch, error) {
	b, err := p.str()
	if err != nil {
		return "", err
	}
	if a := Arch(b); a.Machine() != elf.EM_NONE {
		return a, nil
	}
	return "", p.fail("catalogue: arch", ErrUnsupported)
}

// needed reads an element of "needed".
func (p *catalogueParser) needed() error {
	if len(p.l.Needed) >= elfx.MaxNeeded {
		return p.fail("catalogue: needed", errors.New("has too many elements"))
	}
	file, err := p.text()
	p.l.Needed = append(p.l.Needed, file)
	return err
}

// count returns the number of elements of the array that follows, so that it can be read into
// memory of the right size.
func (p *catalogueParser) count() (n int, err error) {
	start := p.pos
	err = p.array(func() error {
		n++
		return p.skip(2)
	})
	p.pos = start
	return n, err
}

// need reads an element of "needs".
func (p *catalogueParser) need() error {
	var n Need
	err := p.object(func(key []byte) (err error) {
		switch string(key) {
		case "file":
			n.File, err = p.text()
		case "version":
			n.Version, err = p.text()
		default:
			err = p.skip(3)
		}
		return err
	})
	if err == nil && (n.File == "" || n.Version == "") {
		err = p.fail(`catalogue: one of "file", "version"`, errMissing)
	}
	p.l.Needs = append(p.l.Needs, n)
	return err
}
