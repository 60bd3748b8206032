package native

import "golang.org/x/sys/unix"

// anonymousLoader maps anonymous memory.
type anonymousLoader struct{}

func (anonymousLoader) name() string            { return "anonymous" }
func (anonymousLoader) applies(*executor) error { return nil }
func (anonymousLoader) check(*executor) error   { return nil }
func (anonymousLoader) zeroed() bool            { return true }

// mapRegion maps variables over what the first call has mapped, so that nothing is between two
// mappings of ours.
func (anonymousLoader) mapRegion(s *script, rg *region) {
	c := s.mmap(rg, extent{0, rg.size}, readExec, unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE,
		^uint64(0), 0)
	c.maps = true
	for _, e := range rg.writable {
		s.mmap(rg, e, readWrite, unix.MAP_ANONYMOUS|unix.MAP_FIXED, ^uint64(0), 0)
	}
}
