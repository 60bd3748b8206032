package process

import (
	"container/heap"
	"time"
)

// queue are the tasks that wait for a turn: of the first class in which there is one, of its
// accounts in turn. The zero value is empty.
type queue struct {
	classes [classes]ring
	n       int // tasks
	puts    int
}

// ring are the accounts of one class.
type ring struct {
	lines []*accountLine
	of    map[account]*accountLine
	next  int // whose turn it is
	n     int // tasks
}

// accountLine are the tasks of one account, the next one first.
type accountLine struct {
	owner owner
	tasks taskHeap
}

// put adds a task.
func (q *queue) put(t *task) {
	r := &q.classes[t.owner.class]
	l := r.of[t.owner.account]
	if l == nil {
		if l = (&accountLine{owner: t.owner}); r.of == nil {
			r.of = map[account]*accountLine{}
		}
		r.of[t.owner.account], r.lines = l, append(r.lines, l)
	}
	q.puts++
	t.order = q.puts
	heap.Push(&l.tasks, t)
	q.n++
	r.n++
}

// take removes the next task whose time has come and whose owner may have a turn; nil if there is
// none. Without a time, and without may, everything can be taken.
func (q *queue) take(now time.Time, may func(owner) bool) *task {
	for c := range q.classes {
		r := &q.classes[c]
		if r.n == 0 {
			continue
		}
		for i := range r.lines {
			l := r.lines[(r.next+i)%len(r.lines)]
			if len(l.tasks) == 0 || !now.IsZero() && l.tasks[0].at.After(now) || may != nil &&
				!may(l.owner) {
				continue
			}
			r.next = (r.next + i + 1) % len(r.lines)
			q.n--
			r.n--
			return heap.Pop(&l.tasks).(*task)
		}
	}
	return nil
}

// due returns the time of the next task.
func (q *queue) due() (at time.Time, ok bool) {
	for c := range q.classes {
		for _, l := range q.classes[c].lines {
			if len(l.tasks) > 0 && (!ok || l.tasks[0].at.Before(at)) {
				at, ok = l.tasks[0].at, true
			}
		}
	}
	return at, ok
}

// full reports whether an owner has no room for another task.
func (q *queue) full(o owner) bool {
	own := q.classes[ofRoot].n
	if o.class == ofRoot {
		return own >= maxAllWaiting
	}
	n := 0
	for c := range q.classes {
		if l := q.classes[c].of[o.account]; l != nil && class(c) != ofRoot {
			n += len(l.tasks)
		}
	}
	return n >= maxWaiting || q.n-own >= maxAllWaiting
}

// taskHeap has the earliest task first, and of equals that which came first.
type taskHeap []*task

func (h taskHeap) Len() int      { return len(h) }
func (h taskHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *taskHeap) Push(t any)   { *h = append(*h, t.(*task)) }

func (h taskHeap) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].order < h[j].order
}

func (h *taskHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return t
}
