package process

import (
	"slices"
	"testing"
	"time"
)

// TestQueueOrder takes root's processes first, then elevated ones, then those of users in turn,
// each in the order in which they came, and passes over who has enough.
func TestQueueOrder(t *testing.T) {
	alice, bob := account{uid: 1000}, account{uid: 1001}
	var q queue
	for pid, o := range []owner{
		{ofUsers, alice}, {ofUsers, alice}, {ofUsers, alice}, {ofUsers, bob}, {elevated, bob},
		{elevated, alice}, {class: ofRoot}, {class: ofRoot},
	} {
		q.put(&task{pid: pid, owner: o})
	}
	want := []int{6, 7, 4, 5, 0, 3, 1, 2}
	var got []int
	for tk := q.take(time.Now(), nil); tk != nil; tk = q.take(time.Now(), nil) {
		got = append(got, tk.pid)
	}
	if !slices.Equal(got, want) || q.n != 0 {
		t.Errorf("order %v, want %v; %d left", got, want, q.n)
	}
	now := time.Now()
	q.put(&task{pid: 1, owner: owner{ofUsers, alice}, at: now.Add(time.Second)})
	q.put(&task{pid: 2, owner: owner{ofUsers, alice}, at: now})
	q.put(&task{pid: 3, owner: owner{ofUsers, bob}, at: now})
	notAlice := func(o owner) bool { return o.account != alice }
	if tk := q.take(now, notAlice); tk == nil || tk.pid != 3 {
		t.Errorf("%+v", tk)
	}
	if tk := q.take(now, notAlice); tk != nil {
		t.Errorf("%+v, of one who has enough", tk)
	}
	if tk := q.take(now, nil); tk == nil || tk.pid != 2 {
		t.Errorf("%+v", tk)
	}
	if at, ok := q.due(); !ok || !at.Equal(now.Add(time.Second)) || q.take(now, nil) != nil {
		t.Errorf("due at %v, %v", at, ok)
	}
}

// TestQueueFull bounds what waits for one user, and for all of them, but not for root.
func TestQueueFull(t *testing.T) {
	var q queue
	who := func(n int) owner { return owner{ofUsers, account{uid: uint32(1000 + n/maxWaiting)}} }
	n := 0
	for ; !q.full(who(n)) && n < 2*maxAllWaiting; n++ {
		q.put(&task{owner: who(n)})
	}
	if n != maxAllWaiting || !q.full(owner{elevated, account{uid: 7}}) ||
		q.full(owner{class: ofRoot}) {
		t.Errorf("full after %d tasks", n)
	}
	q = queue{}
	for n = 0; !q.full(who(0)) && n < 2*maxWaiting; n++ {
		q.put(&task{owner: owner{class(1 + n%2), account{uid: 1000}}})
	}
	if n != maxWaiting || q.full(who(maxWaiting)) {
		t.Errorf("full after %d tasks of one user", n)
	}
}
