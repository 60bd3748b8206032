package libpulp

import "time"

// SetStep has f called before each write into a process.
func SetStep(f func(name string)) { onWrite = f }

// SpentInCalls has f called with the time that each call into libpulp.so took.
func SpentInCalls(f func(time.Duration)) { spent = f }

// Unjump is unjump, taken apart.
func Unjump(entry uint64) (at uint64, data []byte, ok bool) {
	w, ok := unjump(entry)
	return w.addr, w.data, ok
}
