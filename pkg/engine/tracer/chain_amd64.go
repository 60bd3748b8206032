package tracer

import "encoding/binary"

// Sizes of a link in a chain.
const (
	linkKeep = 16 // address of the gadget, place for the next result
	linkEnd  = 8  // address of the restorer
)

// prependChain puts a chain below the sigframe, which is the way back after the last call.
func (f *sigframe) prependChain(calls []BatchCall, places [][]place, own Registers, block uint64,
	g Gadgets) chain {
	le := binary.LittleEndian
	fp := le.Uint64(f.data[f.uc-f.base+ucFPState:])
	size := 8 * len(calls)
	for _, p := range places {
		size += len(p)*linkKeep + linkEnd + ucLen
	}
	head := (size + 15) &^ 15
	b := f.scratch.take(head + len(f.data))
	base := f.base - uint64(head)
	c := chain{}
	links := make([]int, len(calls)) // where the stack pointer of each call points to
	at := 8 * len(calls)
	for i := range calls {
		c.results = append(c.results, 8*i)
		links[i] = at
		at += len(places[i])*linkKeep + linkEnd + ucLen
	}
	// context is where the registers of call i lie: after the link of the call before.
	context := func(i int) int { return links[i-1] + len(places[i-1])*linkKeep + linkEnd }
	address := func(i int, p place) uint64 {
		switch p.call {
		case ownResult:
			return base + uint64(c.results[i])
		case resultOf:
			return base + uint64(c.results[p.arg])
		}
		return base + uint64(context(p.call)+ucContext+argumentInContext[p.arg])
	}
	var slots []int
	for i, p := range places {
		for _, p := range p {
			slots = append(slots, int(address(i, p)-base))
		}
	}
	for i, call := range calls {
		regs := own.toCall(call.Call, g, sigframe{uc: base + uint64(links[i]) + 8})
		regs.Rbx = address(i, places[i][0])
		for n := range places[i] {
			link := b[links[i]+n*linkKeep:]
			le.PutUint64(link, g.Keep)
			if n+1 < len(places[i]) {
				le.PutUint64(link[8:], address(i, places[i][n+1]))
			}
		}
		le.PutUint64(b[links[i]+len(places[i])*linkKeep:], g.Restorer)
		if i == 0 {
			c.first = regs
			continue
		}
		writeUcontext(b[context(i):], &regs, fp, block)
	}
	last := len(calls) - 1 // leads back: its context is a copy of the sigframe's
	copy(b[links[last]+len(places[last])*linkKeep+linkEnd:], f.data[f.uc-f.base:f.uc-f.base+ucLen])
	copy(b[head:], f.data)
	f.data, f.base, f.slots = b, base, slots
	return c
}

// argumentInContext has the offsets of a system call's arguments in a context: rdi, rsi, rdx, r10,
// r8, r9.
var argumentInContext = [6]int{8 * 8, 9 * 8, 12 * 8, 2 * 8, 0, 8}

// place is where a result goes: to an argument of a call; or to the results, as that of the call
// itself or of the call arg.
type place struct{ call, arg int }

const (
	ownResult = -1
	resultOf  = -2
)

// wipingPlaces is chainPlaces for a chain whose stack nobody puts back. What remains on it must not
// look like a pointer into memory that was mapped or given back: a scan of stacks for such
// pointers would find it where a function leaves its variables unset. So the last result, which is
// no address, goes over the results and the first arguments of all calls. (The arguments of the
// first call are in no memory.)
func wipingPlaces(calls []BatchCall) [][]place {
	list := chainPlaces(calls)
	last := len(calls) - 1
	for i := range last {
		list[last] = append(list[last], place{resultOf, i}, place{i + 1, 0})
	}
	return list
}

// chainPlaces returns for each call where its result goes, at least to the results.
func chainPlaces(calls []BatchCall) [][]place {
	list := make([][]place, len(calls))
	for i := range calls {
		list[i] = []place{{call: ownResult}}
	}
	for i, c := range calls {
		if c.Arg > 0 {
			list[c.From] = append(list[c.From], place{i, c.Arg - 1})
		}
	}
	return list
}
