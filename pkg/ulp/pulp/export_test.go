package pulp

// SetStep has f called before each write into a process.
func SetStep(f func(name string)) { step = f }
