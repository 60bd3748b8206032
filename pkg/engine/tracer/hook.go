package tracer

// WithStep returns options with which f is called before each operation that the target can notice. It is for the tests of
// packages that work through this one: they see to it that the target outlives them at each of these moments.
func WithStep(o Options, f func(name string)) Options {
	o.step = f
	return o
}
