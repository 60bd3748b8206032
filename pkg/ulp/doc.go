// Package ulp reads, writes and checks userspace live patches in libpulp's format.
//
// A live patch is an ordinary shared object, the [Container], with functions that are to replace
// others in a target [symtab.Library]. A [Description] says which; [Pack] writes it in binary form,
// the [Metadata], into sections of the container.
//
//	Description ─ Expand ─► Description ─┐
//	Library (ELF file or catalogue) ─────┼─ Check, Pack ─► container with sections
//	Container ───────────────────────────┘                 .ulp, .ulp.rev, .ulp.comments
//
// The law is that live patches of this package and of libpulp are interchangeable, byte for byte
// where the input is the same; what libpulp's packer accepts and a process would then refuse is an
// error here, unless it is forced.
//
// All input is untrusted: parsers return an error or a result, never both, do not panic, do
// not read outside their input and do not allocate more than a small multiple of it. Results are
// values in memory: nothing is printed or written to disk, and no process is touched. Files are
// read for x86_64, ppc64le and aarch64; others are [symtab.ErrUnsupported].
package ulp
