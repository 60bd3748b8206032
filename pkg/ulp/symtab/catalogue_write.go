package symtab

import (
	"encoding/hex"
	"slices"
	"strconv"

	"github.com/lpbuild/lpbuild/internal/hotpatch"
)

// AppendCatalogue appends the library as JSON: an object with the keys and in the order that `ulp
// extract` has, one symbol per line. What libpulp's catalogues do not tell is in keys of our own,
// which libpulp skips: "arch", "soname", "needed", "needs", "livepatchable", "landings", "entries",
// "code", "unwinding", "resolvers", "parts" and "callers" of the library, "version", "default",
// "dynamic", "undefined", "patchable", "writable" and "landing" of a symbol, each only where it is
// not the zero value.
//
// Equal libraries give equal bytes, and [ParseCatalogue] gives the library back. Names are copied
// byte for byte, so that a name which is not UTF-8 makes a file which is not; libpulp does the
// same.
func (l *Library) AppendCatalogue(b []byte) []byte {
	b = slices.Grow(b, 256+128*l.Len())
	b = append(b, "{\n\"library\":{\n"...)
	b = appendString(b, "\"name\":", l.Name)
	b = appendString(b, ",\n\"buildid\":", hex.EncodeToString(l.BuildID))
	if l.Arch != "" {
		b = appendString(b, ",\n\"arch\":", string(l.Arch))
	}
	if l.SONAME != "" {
		b = appendString(b, ",\n\"soname\":", l.SONAME)
	}
	if len(l.Needed) > 0 {
		b = appendList(append(b, ",\n\"needed\":"...), l.Needed,
			func(b []byte, file string) []byte {
				return appendString(b, "", file)
			})
	}
	if len(l.Needs) > 0 {
		b = appendList(append(b, ",\n\"needs\":"...), l.Needs, appendNeed)
	}
	if l.Livepatchable {
		b = append(b, ",\n\"livepatchable\":true"...)
	}
	if l.Landings {
		b = append(b, ",\n\"landings\":true"...)
	}
	if l.proofs != nil {
		b = l.proofs.append(b, "entries", hotpatch.Version)
		if l.checksum != 0 {
			b = strconv.AppendUint(append(b, ",\n\"checksum\":"...), uint64(l.checksum), 10)
		}
	}
	if l.handlers != nil {
		b = l.handlers.append(b, "unwinding", hotpatch.HandlersVersion)
	}
	if l.resolvers != nil {
		b = l.appendResolvers(b, hotpatch.ResolversVersion)
	}
	if l.parts != nil {
		b = l.parts.append(b, "parts", hotpatch.PartsVersion)
	}
	if l.callers != nil {
		b = l.callers.append(b, "callers", hotpatch.RegistersVersion)
	}
	b = append(b, ",\n\"symbols\":["...)
	separator := "\n"
	for t, r := range l.symbols.each() {
		b = appendSymbol(append(b, separator...), t, r)
		separator = ",\n"
	}
	return append(b, "\n]}}\n"...)
}

func appendList[T any](b []byte, list []T, element func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i, e := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = element(b, e)
	}
	return append(b, ']')
}

func appendNeed(b []byte, n Need) []byte {
	b = appendString(b, "{\"file\":", n.File)
	b = appendString(b, ",\"version\":", n.Version)
	return append(b, '}')
}

// symbolFlags are the flags of a symbol as they are written if they are set, in this order.
var symbolFlags = [...]struct {
	flag    flag
	written string
}{
	{flagDefault, ",\"default\":true"},
	{flagDynamic, ",\"dynamic\":true"},
	{flagUndefined, ",\"undefined\":true"},
	{flagPatchable, ",\"patchable\":true"},
	{flagWritable, ",\"writable\":true"},
	{flagLanding, ",\"landing\":true"},
}

func appendSymbol(b []byte, t *table, r *row) []byte {
	b = appendString(b, "{\"name\":", t.name(r))
	b = strconv.AppendUint(append(b, ",\"offset\":"...), r.value, 10)
	b = strconv.AppendUint(append(b, ",\"size\":"...), r.size, 10)
	b = strconv.AppendUint(append(b, ",\"st_info\":"...), uint64(r.info), 10)
	b = strconv.AppendUint(append(b, ",\"st_other\":"...), uint64(r.other), 10)
	if v := t.versionOf(r); v != nil {
		b = appendString(b, ",\"version\":", t.cut(v.NameOff))
	}
	for _, f := range symbolFlags {
		if r.flags&f.flag != 0 {
			b = append(b, f.written...)
		}
	}
	return append(b, '}')
}

// appendString appends before and then s as a JSON string.
func appendString(b []byte, before, s string) []byte {
	const hexDigits = "0123456789abcdef"
	b = append(append(b, before...), '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
