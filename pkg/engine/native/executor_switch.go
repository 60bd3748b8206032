package native

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// switchOver is the fifth phase. It leads the functions to their stubs, which still lead on to
// them; then switches all of a library at once; and gives those that nothing replaces any more
// their entries back.
func (x *executor) switchOver(context.Context) error {
	for _, tp := range x.targets {
		if err := x.addSites(tp); err != nil {
			return err
		}
		for _, slot := range tp.install {
			writes, err := tp.next.sites[slot].detour(tp.next.stub(slot))
			if err != nil {
				return err
			}
			if err := x.writeAll(writes); err != nil {
				return err
			}
		}
		if tp.next.base == 0 {
			continue
		}
		if err := x.write(write{tp.next.base, tp.next.encodePage()}); err != nil {
			return err
		}
		for _, slot := range tp.restore {
			if err := x.writeAll(tp.next.sites[slot].restore()); err != nil {
				return err
			}
		}
	}
	return nil
}

// addSites adds new sites to a table that is there already. What follows the sites that its page
// counts is nobody's.
func (x *executor) addSites(tp *targetPlan) error {
	if tp.old == nil || tp.added == 0 {
		return nil
	}
	known := len(tp.next.sites) - tp.added
	for slot := known; slot < len(tp.next.sites); slot++ {
		stub, err := tp.next.encodeStub(slot)
		if err != nil {
			return err
		}
		if err := x.writeAll([]write{
			{tp.next.base + sitesAt + uint64(slot)*siteSize, tp.next.sites[slot].encode()},
			{tp.next.stub(slot), stub},
		}); err != nil {
			return err
		}
	}
	interim := tp.next.clone()
	interim.patches = tp.old.patches
	for slot := range interim.slots {
		interim.slots[slot] = interim.origin(slot)
	}
	copy(interim.slots, tp.old.slots)
	return x.write(write{tp.next.base, interim.encodePage()})
}

func (x *executor) writeAll(list []write) error {
	for _, w := range list {
		if err := x.write(w); err != nil {
			return err
		}
	}
	return nil
}

// write changes memory and remembers what was there.
func (x *executor) write(w write) error {
	x.step("write")
	old := x.known(w)
	if old == nil {
		old = make([]byte, len(w.data))
		if _, err := x.mem.ReadAt(old, int64(w.addr)); err != nil {
			return fmt.Errorf("reading %#x: %w", w.addr, gone(err))
		}
	}
	if _, err := x.mem.WriteAt(w.data, int64(w.addr)); err != nil {
		return fmt.Errorf("writing %#x: %w", w.addr, gone(err))
	}
	x.done = append(x.done, write{w.addr, old})
	return nil
}

// known returns what was found where w is going to be written, nil if that was not looked at.
func (x *executor) known(w write) []byte {
	for _, e := range x.expect {
		off := w.addr - e.addr
		if w.addr >= e.addr && off+uint64(len(w.data)) <= uint64(len(e.data)) {
			return e.data[off:][:len(w.data)]
		}
	}
	return nil
}

// gone makes an ErrGone of the error of an access to memory that was there a moment ago: the
// process was killed.
func gone(err error) error {
	if errors.Is(err, unix.EIO) || errors.Is(err, unix.EFAULT) {
		return err
	}
	return fmt.Errorf("%w: %w", tracer.ErrGone, err)
}
