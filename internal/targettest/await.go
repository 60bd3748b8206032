package targettest

import (
	"testing"
	"time"
)

// patience is how long is waited for what must happen, be the machine as busy as it may.
const patience = time.Minute

// Await waits until a condition holds that a process sees to, and fails the test if that takes
// longer than a minute.
func Await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
