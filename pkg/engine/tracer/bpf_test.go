package tracer

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRunFilter(t *testing.T) {
	const allow, kill = unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_KILL_PROCESS
	type prog = []unix.SockFilter
	ret := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET, K: k} }
	retA := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_A}
	imm := func(k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_IMM, K: k}
	}
	ldx := func(k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LDX | unix.BPF_IMM, K: k}
	}
	alu := func(op uint16, k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_ALU | op, K: k}
	}
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	jump := func(op uint16, k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | op, K: k, Jt: 1}
	}
	for name, tc := range map[string]struct {
		p    prog
		want uint32
	}{
		"constant":       {prog{ret(allow)}, allow},
		"number":         {prog{load(0), retA}, 39},
		"architecture":   {prog{load(4), retA}, auditArch},
		"argument":       {prog{load(16), retA}, 0x55667788},
		"its upper half": {prog{load(20), retA}, 0x11223344},
		"length":         {prog{{Code: unix.BPF_LD | unix.BPF_LEN}, retA}, 64},
		"add":            {prog{imm(7), alu(unix.BPF_ADD, 3), retA}, 10},
		"sub":            {prog{imm(7), alu(unix.BPF_SUB, 8), retA}, 1<<32 - 1},
		"mul":            {prog{imm(7), alu(unix.BPF_MUL, 3), retA}, 21},
		"div":            {prog{imm(7), alu(unix.BPF_DIV, 2), retA}, 3},
		"div by zero":    {prog{imm(7), alu(unix.BPF_DIV, 0), retA}, kill},
		"and":            {prog{imm(7), alu(unix.BPF_AND, 5), retA}, 5},
		"or":             {prog{imm(6), alu(unix.BPF_OR, 1), retA}, 7},
		"xor":            {prog{imm(6), alu(unix.BPF_XOR, 3), retA}, 5},
		"shifts":         {prog{imm(6), alu(unix.BPF_LSH, 3), alu(unix.BPF_RSH, 1), retA}, 24},
		"neg":            {prog{imm(1), alu(unix.BPF_NEG, 0), retA}, 1<<32 - 1},
		"with x": {prog{imm(1), ldx(4), {Code: unix.BPF_ALU | unix.BPF_ADD | unix.BPF_X},
			retA}, 5},
		"tax, txa": {prog{imm(9), {Code: unix.BPF_MISC | unix.BPF_TAX}, imm(0),
			{Code: unix.BPF_MISC | unix.BPF_TXA}, retA}, 9},
		"memory": {prog{imm(9), {Code: unix.BPF_ST, K: 15}, imm(0),
			{Code: unix.BPF_LD | unix.BPF_MEM, K: 15}, retA}, 9},
		"memory of x": {prog{ldx(9), {Code: unix.BPF_STX, K: 1},
			{Code: unix.BPF_LD | unix.BPF_MEM, K: 1}, retA}, 9},
		"outside memory": {prog{imm(9), {Code: unix.BPF_ST, K: 16}, ret(allow)}, kill},
		"outside data":   {prog{load(64), ret(allow)}, kill},
		"crooked":        {prog{load(2), ret(allow)}, kill},
		"no such load":   {prog{{Code: unix.BPF_LD | unix.BPF_IND}, ret(allow)}, kill},
		"no such alu":    {prog{alu(0xf0, 1), ret(allow)}, kill},
		"no end":         {prog{imm(1)}, kill},
		"nothing":        {nil, kill},
		"equal":          {prog{imm(5), jump(unix.BPF_JEQ, 5), ret(1), ret(2)}, 2},
		"not equal":      {prog{imm(5), jump(unix.BPF_JEQ, 6), ret(1), ret(2)}, 1},
		"greater":        {prog{imm(5), jump(unix.BPF_JGT, 5), ret(1), ret(2)}, 1},
		"at least":       {prog{imm(5), jump(unix.BPF_JGE, 5), ret(1), ret(2)}, 2},
		"bits":           {prog{imm(5), jump(unix.BPF_JSET, 4), ret(1), ret(2)}, 2},
		"always":         {prog{{Code: unix.BPF_JMP | unix.BPF_JA, K: 1}, ret(1), ret(2)}, 2},
		"far too far":    {prog{{Code: unix.BPF_JMP | unix.BPF_JA, K: 1<<32 - 1}, ret(1)}, kill},
		"against x": {prog{imm(5), ldx(5), {Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_X,
			Jt: 1}, ret(1), ret(2)}, 2},
		"memory to x": {prog{imm(8), {Code: unix.BPF_ST}, {Code: unix.BPF_LDX | unix.BPF_MEM},
			{Code: unix.BPF_MISC | unix.BPF_TXA}, retA}, 8},
		"x outside":       {prog{{Code: unix.BPF_LDX | unix.BPF_MEM, K: 99}, ret(allow)}, kill},
		"return constant": {prog{imm(3), ret(4)}, 4},
	} {
		var data [64]byte
		binary.NativeEndian.PutUint32(data[0:], 39)
		binary.NativeEndian.PutUint32(data[4:], auditArch)
		binary.NativeEndian.PutUint64(data[16:], 0x1122334455667788)
		if got := runFilter(tc.p, data[:]); got != tc.want {
			t.Errorf("%s: %#x, want %#x", name, got, tc.want)
		}
	}
}

// TestJudge combines filters: the strictest counts.
func TestJudge(t *testing.T) {
	one := func(action uint32) []unix.SockFilter {
		return []unix.SockFilter{{Code: unix.BPF_RET, K: action}}
	}
	order := []uint32{unix.SECCOMP_RET_KILL_PROCESS, unix.SECCOMP_RET_KILL_THREAD,
		unix.SECCOMP_RET_TRAP, unix.SECCOMP_RET_ERRNO, unix.SECCOMP_RET_USER_NOTIF,
		unix.SECCOMP_RET_TRACE, unix.SECCOMP_RET_LOG, unix.SECCOMP_RET_ALLOW}
	for i, strict := range order {
		for _, mild := range order[i:] {
			for _, f := range [][][]unix.SockFilter{{one(strict), one(mild)},
				{one(mild), one(strict)}} {
				if got := judge(f, Call{}, Gadgets{}); got != strict {
					t.Errorf("%#x and %#x: %#x", strict, mild, got)
				}
			}
		}
	}
}

func FuzzRunFilter(f *testing.F) {
	f.Add([]byte{0x20, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(_ *testing.T, b []byte) {
		var prog []unix.SockFilter
		for ; len(b) >= 8; b = b[8:] {
			prog = append(prog, unix.SockFilter{Code: binary.LittleEndian.Uint16(b), Jt: b[2],
				Jf: b[3], K: binary.LittleEndian.Uint32(b[4:])})
		}
		runFilter(prog, make([]byte, 64)) // comes back, and does not panic
	})
}
