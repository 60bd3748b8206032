package diag

import (
	"fmt"
	"strings"
	"time"
)

// Duration formats a duration for the user: "385 µs", "1.4 ms", "462 ms", "2.5 s", "2 min 30 s". It
// has at least two significant digits, and no units too small to matter.
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + Duration(-d)
	case d > 0 && d < time.Microsecond:
		return fmt.Sprintf("%d ns", d)
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return decimal(d, time.Millisecond) + " ms"
	case d < time.Minute:
		return decimal(d, time.Second) + " s"
	case d < time.Hour:
		return parts(d.Round(time.Second), time.Minute, time.Second, "min", "s")
	}
	return parts(d.Round(time.Minute), time.Hour, time.Minute, "h", "min")
}

// decimal returns the number of units, with one decimal below ten.
func decimal(d, unit time.Duration) string {
	if d >= 10*unit {
		return fmt.Sprint(int64(d / unit))
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(d/(unit/10))/10), ".0")
}

func parts(d, large, small time.Duration, largeName, smallName string) string {
	text := fmt.Sprintf("%d %s", d/large, largeName)
	if rest := d % large / small; rest > 0 {
		text += fmt.Sprintf(" %d %s", rest, smallName)
	}
	return text
}
