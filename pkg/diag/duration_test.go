package diag

import (
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 µs", 999: "999 ns", 385 * time.Microsecond: "385 µs", 999999: "999 µs",
		time.Millisecond:        "1 ms",
		1449 * time.Microsecond: "1.4 ms", 9999 * time.Microsecond: "9.9 ms", 462*time.Millisecond +
			700: "462 ms",
		999999 * time.Microsecond: "999 ms", time.Second: "1 s", 2500 * time.Millisecond: "2.5 s",
		30 * time.Second: "30 s",
		90 * time.Second: "1 min 30 s", 2 * time.Minute: "2 min",
		time.Hour - time.Millisecond: "60 min",
		time.Hour:                    "1 h", 26*time.Hour + 5*time.Minute: "26 h 5 min",
		-462 * time.Millisecond: "-462 ms",
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v) = %q, want %q", d, got, want)
		}
	}
}
