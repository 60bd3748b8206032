package native

import (
	"context"
	"fmt"
)

// filling is how the threads of the process spend the time in which its regions are filled.
type filling int

const (
	fillStopped filling = iota // all stay stopped: there is little to write
	fillRunning                // those that were running go on
)

// largeFrom is from how many pages on, of which each takes about a microsecond to make and to
// write, a process is not stopped for that.
const largeFrom = 64

// fill is the third phase. It writes the contents of the regions. Where that is much and threads
// were running, they go on meanwhile, since nothing leads there yet: what counts is the longest
// time for which the process is stopped.
func (x *executor) fill(ctx context.Context) error {
	if len(x.regions) == 0 {
		return nil
	}
	pages := 0
	for _, rg := range x.regions {
		pages += rg.pages(x.loader.zeroed())
	}
	if pages < largeFrom && !x.o.twoStops {
		return x.fillRegions()
	}
	x.filling = fillRunning
	var err error
	stopErr := x.whileRunning(ctx, func() error {
		err = x.fillRegions()
		return nil
	})
	if stopErr != nil {
		return stopErr
	}
	return err
}

// fillRegions writes the contents. An engine that is killed meanwhile leaves what the next one
// knows by the mark. By the first page it knows that all the rest is there, which is why that comes
// last.
func (x *executor) fillRegions() error {
	for _, rg := range x.regions {
		if err := x.fillSegment(rg, content{0, rg.mark()}); err != nil {
			return err
		}
		for c := range rg.segments(x.loader.zeroed()) {
			if err := x.fillSegment(rg, c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *executor) fillSegment(rg *region, c content) error {
	x.step("fill")
	if _, err := x.mem.WriteAt(c.data, int64(rg.base+c.off)); err != nil {
		return fmt.Errorf("filling memory: %w: %w", ErrRefused, gone(err))
	}
	return nil
}
