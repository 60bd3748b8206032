package tracer

// words are the registers that may have an address, the program counter first.
func (r *Registers) words() []uint64 {
	return []uint64{r.Rip, r.Rax, r.Rbx, r.Rcx, r.Rdx, r.Rsi, r.Rdi, r.Rbp, r.R8, r.R9, r.R10,
		r.R11, r.R12, r.R13, r.R14, r.R15}
}
