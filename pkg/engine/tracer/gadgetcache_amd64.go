package tracer

import (
	"io"
	"slices"
	"sync"
)

// GadgetCache remembers where gadgets are in a build of a library, since searching takes longer
// than most of what is done for a process, and most processes have the same libc. What it remembers
// was seen in some process, which may only claim to have that library, and is a hint: it counts in
// another one if it lies in that one's code, and reads the same there. The zero value works, for
// several goroutines at once.
//
// A place where one of them is missing is not remembered: another process may have it.
type GadgetCache struct {
	mu      sync.Mutex
	byBuild map[string]Gadgets // relative to the library's base
}

// maxBuilds bounds the cache; after that it begins anew.
const maxBuilds = 1024

// Find is [FindGadgets] in the code of one library: its executable memory that is not writable.
// base is what all the addresses in a library move with. Without a build-id nothing is remembered.
func (c *GadgetCache) Find(mem io.ReaderAt, buildID []byte, base uint64,
	code []Range) (Gadgets, error) {
	if g, ok := c.known(buildID); ok {
		g.move(base)
		if again := g; g.within(code) && again.verify(mem) == nil && again.Keep == g.Keep {
			return again, nil
		}
	}
	g, err := FindGadgets(mem, code)
	if err == nil && g.complete() && len(buildID) > 0 {
		c.remember(buildID, g, base)
	}
	return g, err
}

func (c *GadgetCache) known(buildID []byte) (Gadgets, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, ok := c.byBuild[string(buildID)]
	return g, ok
}

func (c *GadgetCache) remember(buildID []byte, g Gadgets, base uint64) {
	g.move(-base)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byBuild == nil || len(c.byBuild) >= maxBuilds {
		c.byBuild = map[string]Gadgets{}
	}
	c.byBuild[string(buildID)] = g
}

// each yields the addresses of those that there are.
func (g *Gadgets) each(yield func(addr *uint64) bool) {
	for _, addr := range []*uint64{&g.Syscall, &g.Restorer, &g.Store, &g.Keep} {
		if *addr != 0 && !yield(addr) {
			return
		}
	}
}

func (g *Gadgets) move(by uint64) {
	for addr := range g.each {
		*addr += by
	}
}

// within reports whether all of them are in these ranges, each from its first byte to its last.
func (g *Gadgets) within(code []Range) bool {
	for addr := range g.each {
		if !slices.ContainsFunc(code, func(r Range) bool {
			return *addr >= r.Start && *addr < r.End && r.End-*addr >= gadgetOverlap
		}) {
			return false
		}
	}
	return true
}
