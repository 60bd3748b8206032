package realtest

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// client is a connection to a server. Its ask makes a request and returns an error unless every
// byte of the answer is right.
type client interface {
	ask(i int) error
	close()
}

// clients is how many connections a load has.
const clients = 4

// load is what clients do to a server while something else happens to it.
type load struct {
	asked atomic.Int64 // requests with a right answer
	end   atomic.Bool
	wg    sync.WaitGroup
	took  [clients][]time.Duration
	errs  [clients]error
	lost  chan struct{} // closed with the first error
	once  sync.Once
}

// begin starts the clients. With an interval each asks once in that time, whatever the answers
// take, and an answer's time counts from when its request was due; with 0 each asks again as soon
// as it has the answer. from is the number of the first request.
func begin(list []client, interval time.Duration, from int) *load {
	l := &load{lost: make(chan struct{})}
	for n, c := range list {
		l.wg.Go(func() {
			due := time.Now()
			for i := from; !l.end.Load(); i++ {
				if interval == 0 {
					due = time.Now()
				} else {
					due = due.Add(interval)
					time.Sleep(time.Until(due))
				}
				if err := c.ask(i); err != nil {
					l.errs[n] = fmt.Errorf("client %d, request %d: %w", n, i, err)
					l.once.Do(func() { close(l.lost) })
					return
				}
				l.took[n] = append(l.took[n], time.Since(due))
				l.asked.Add(1)
			}
		})
	}
	return l
}

// more waits until the clients have had n more answers.
func (l *load) more(t testing.TB, n int64) {
	t.Helper()
	want := l.asked.Load() + n
	await(t, fmt.Sprintf("%d more answers", n), func() bool {
		select {
		case <-l.lost:
			l.stop(t)
		default:
		}
		return l.asked.Load() >= want
	})
}

// stop ends the load. It fails the test unless all answers were right, and returns what they took,
// sorted.
func (l *load) stop(t testing.TB) latencies {
	t.Helper()
	l.end.Store(true)
	l.wg.Wait()
	for _, err := range l.errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	all := slices.Concat(l.took[:]...)
	slices.Sort(all)
	return all
}

// latencies are sorted.
type latencies []time.Duration

// at returns the latency that so many of a thousand requests stay below.
func (l latencies) at(permille int) time.Duration {
	if len(l) == 0 {
		return 0
	}
	return l[min(len(l)-1, len(l)*permille/1000)]
}

func (l latencies) String() string {
	return fmt.Sprintf("p50 %v, p99 %v, p99.9 %v of %d", l.at(500), l.at(990), l.at(999), len(l))
}

// patience is how long is waited for what must happen, be the machine as busy as it may.
const patience = time.Minute

func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
