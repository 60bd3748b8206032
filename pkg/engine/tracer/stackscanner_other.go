//go:build !amd64

package tracer

func (*Registers) words() []uint64 { return nil }
