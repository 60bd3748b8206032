package hotpatch

import "testing"

// TestDecode has instructions of which decoders are known to find other lengths, and what cannot be
// known.
func TestDecode(t *testing.T) {
	for name, tc := range map[string]struct {
		code   string
		size   int
		flow   flow
		target int
		why    string
	}{
		"vzeroupper before a jump":    {"\xc5\xf8\x77\x75\xf8", 3, next, 0, ""},
		"vzeroall before a jump":      {"\xc5\xfc\x77\x75\xf8", 3, next, 0, ""},
		"vzeroupper in its long form": {"\xc4\xe1\x78\x77\x75\xf8", 4, next, 0, ""},
		"vpalignr has a byte":         {"\xc4\xe3\x79\x0f\xc1\x08", 6, next, 0, ""},
		"EVEX":                        {"\x62\xf1\x7c\x48\x10\x47\x01", 7, next, 0, ""},
		"APX":                         {"\x62\xf4\x7c\x18\x01\xc0", 0, next, 0, refusedOpcode},
		"REX2":                        {"\xd5\x48\x01\xc0", 0, next, 0, refusedOpcode},
		"XOP":                         {"\x8f\xe8\x78\xa2\xc1\x00", 0, next, 0, refusedOpcode},
		"3DNow":                       {"\x0f\x0f\xc1\x9e", 0, next, 0, refusedOpcode},
		"femms":                       {"\x0f\x0e\x75\xf8", 0, next, 0, refusedOpcode},
		"fwait":                       {"\x9b\xd9\x3c\x24", 1, next, 0, ""},
		"REX is not last":             {"\x48\x66\x89\xc0", 0, next, 0, refusedPrefixes},
		"prefix is there twice":       {"\xf3\xf3\xa4", 0, next, 0, refusedPrefixes},
		"rep and repne":               {"\xf2\xf3\xa4", 0, next, 0, refusedPrefixes},
		"lock of what cannot be":      {"\xf0\x89\xc0", 0, next, 0, refusedPrefixes},
		"lock":                        {"\xf0\x48\x0f\xb1\x17", 5, next, 0, ""},
		"a number of 2 bytes":         {"\x66\xb8\x75\xf8", 4, next, 0, ""},
		"a number of 8 bytes": {"\x48\xb8\x01\x02\x03\x04\x05\x06\x07\x08", 10, next, 0,
			""},
		"REX.W goes before 66":      {"\x66\x48\x81\xc0\x01\x02\x03\x04", 8, next, 0, ""},
		"an address of 8 bytes":     {"\xa1\x01\x02\x03\x04\x05\x06\x07\x08", 9, next, 0, ""},
		"an address of 4 bytes":     {"\x67\xa1\x01\x02\x03\x04", 6, next, 0, ""},
		"jump that AMD's cut":       {"\x66\xe9\x01\x02\x03\x04", 0, next, 0, refusedPrefixes},
		"call of thread-local data": {"\x66\x66\x48\xe8\x01\x00\x00\x00", 8, call, 9, ""},
		"hinted":                    {"\x2e\x75\xf8", 3, branch, -5, ""},
		"xbegin":                    {"\xc7\xf8\x02\x00\x00\x00", 6, branch, 8, ""},
		"xabort":                    {"\xc6\xf8\x02", 3, next, 0, ""},
		"jrcxz":                     {"\xe3\x02", 2, branch, 4, ""},
		"near conditional":          {"\x0f\x84\x01\x00\x00\x00", 6, branch, 7, ""},
		"notrack jump":              {"\x3e\xff\xe0", 3, jumpAnywhere, 0, ""},
		"bnd return":                {"\xf2\xc3", 2, leave, 0, ""},
		"test has a number":         {"\xf7\x05\x01\x02\x03\x04\x05\x06\x07\x08", 10, next, 0, ""},
		"not has none":              {"\xf7\x15\x01\x02\x03\x04", 6, next, 0, ""},
		"address of EIP":            {"\x67\x8b\x05\x01\x02\x03\x04", 0, next, 0, refusedPrefixes},
		"padding": {"\x66\x66\x2e\x0f\x1f\x84\x00\x00\x00\x00\x00", 11, next, 0,
			""},
		"cut off": {"\xe9\x01\x02", 0, next, 0, refusedCut},
		"too long": {"\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x90", 0, next, 0,
			refusedCut},
	} {
		in, why := decode([]byte(tc.code), 0)
		if why != tc.why || why == "" && (in.size != tc.size || in.flow != tc.flow || in.leads() &&
			in.target != tc.target) {
			t.Errorf("%s: %+v, %q", name, in, why)
		}
	}
}

// FuzzDecode: any bytes are an instruction that is there, or are refused.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("\xc5\xf8\x77\x75\xf8"), 0)
	f.Fuzz(func(t *testing.T, code []byte, off int) {
		if off < 0 || off > len(code) {
			return
		}
		in, why := decode(code, off)
		if why == "" && (in.size > maxInstruction || off+in.size > len(code) || in.size == 0 &&
			off < len(code) || in.opcode > in.size || in.modrm > in.size || in.rip > in.size ||
			in.rip > 0 && in.rip+4 > in.size) {
			t.Fatalf("%+v", in)
		}
	})
}
