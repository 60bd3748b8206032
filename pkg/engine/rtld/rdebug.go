package rtld

import (
	"bytes"
	"fmt"
)

// The loader tells debuggers what it has loaded by a variable that link.h describes, struct
// r_debug. There is a list of it for each namespace: that of the program, and those that dlmopen
// has made. The address of the first one stands in the program's DT_DEBUG, and it is the loader's
// symbol _r_debug.

// debugSymbol is the name of the loader's first struct r_debug.
const debugSymbol = "_r_debug"

// rDebug is struct r_debug.
type rDebug struct {
	version uint32 // r_version: 0 before anything is loaded; from 2 on there is a next one
	linkMap uint64 // r_map: the first struct link_map
	// r_state: not 0 while the list is being changed, and from the start of the program until all
	// is bound
	state uint32
}

// nextOffset is where r_next is (struct r_debug_extended, since glibc 2.35).
const nextOffset = 40

// readRDebug reads the struct r_debug at an address.
func readRDebug(r Reader, addr uint64) (rDebug, error) {
	var b [nextOffset]byte
	if err := readFull(r, b[:], addr); err != nil {
		return rDebug{}, err
	}
	return rDebug{version: le.Uint32(b[:]), linkMap: le.Uint64(b[8:]), state: le.Uint32(b[24:])},
		nil
}

// complete reports whether the list is all there.
func (d rDebug) complete() bool { return d.version != 0 && d.state == 0 }

// linkEntry is the public part of struct link_map.
type linkEntry struct {
	addr    uint64 // of the struct itself
	bias    uint64 // l_addr
	name    uint64 // l_name: address of the path that it was found by
	dynamic uint64 // l_ld: address of the dynamic section
	next    uint64 // l_next
	path    string // what stands at name, if it was read
}

// readLinkEntry reads the struct link_map at an address, but not its path.
func readLinkEntry(r Reader, addr uint64) (linkEntry, error) {
	var b [40]byte // l_addr, l_name, l_ld, l_next, l_prev
	if err := readFull(r, b[:], addr); err != nil {
		return linkEntry{}, err
	}
	return linkEntry{addr: addr, bias: le.Uint64(b[:]), name: le.Uint64(b[8:]),
		dynamic: le.Uint64(b[16:]), next: le.Uint64(b[24:])}, nil
}

// readNamespaces reads the lists of all namespaces, the program's first, from the first struct
// r_debug on. An address that was there before is an error, as is one too many: a hostile list has
// no end.
func readNamespaces(r Reader, debug uint64) ([][]linkEntry, error) {
	var lists [][]linkEntry
	seen := map[uint64]bool{}
	for debug != 0 {
		if seen[debug] || len(lists) == maxNamespaces {
			return nil, fmt.Errorf("namespaces of libraries: %w", ErrMalformed)
		}
		seen[debug] = true
		d, err := readRDebug(r, debug)
		if err != nil {
			return nil, err
		}
		if !d.complete() {
			return nil, ErrLoading
		}
		list, err := readLinkEntries(r, d.linkMap, seen)
		if err != nil {
			return nil, err
		}
		lists = append(lists, list)
		if d.version < 2 {
			break
		}
		var next [8]byte
		if err := readFull(r, next[:], debug+nextOffset); err != nil {
			return nil, err
		}
		debug = le.Uint64(next[:])
	}
	return lists, nil
}

// readLinkEntries reads one list from its first entry on.
func readLinkEntries(r Reader, at uint64, seen map[uint64]bool) ([]linkEntry, error) {
	var list []linkEntry
	for at != 0 {
		if seen[at] || len(seen) > maxLinkMaps {
			return nil, fmt.Errorf("list of libraries: %w", ErrMalformed)
		}
		seen[at] = true
		e, err := readLinkEntry(r, at)
		if err != nil {
			return nil, err
		}
		var name [1024]byte
		n, _ := r.ReadAt(name[:], e.name) // it only helps to match DT_NEEDED
		if end := bytes.IndexByte(name[:n], 0); end >= 0 {
			e.path = string(name[:end])
		}
		list = append(list, e)
		at = e.next
	}
	return list, nil
}
