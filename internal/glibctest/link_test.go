package glibctest

import (
	"errors"
	"testing"
)

func TestLinkCommand(t *testing.T) {
	const log = "gcc -r -o /b/elf/librtld.os x.os \\\n  -Wl,-Map,m\n" +
		"gcc  -shared -o /b/elf/ld.so.new\t\\\n\t  -Wl,-z,relro \\\n\t/b/elf/librtld.os " +
		"-Wl,-soname=ld.so\nreadelf -s /b/elf/ld.so.new\n" +
		"gcc -shared -o /b/libc.so -T /b/shlib.lds /b/libc_pic.os -lgcc\n"
	tests := map[string]struct {
		output, input, want string
		wantErr             error
	}{
		"loader": {"/b/elf/ld.so.new", "/b/elf/librtld.os",
			"gcc -shared -o /b/elf/ld.so.new -Wl,-z,relro /b/elf/librtld.os -Wl,-soname=ld.so",
			nil},
		"libc": {"/b/libc.so", "/b/libc_pic.os", "gcc -shared -o /b/libc.so -T /b/shlib.lds " +
			"/b/libc_pic.os -lgcc", nil},
		"not made":       {"/b/libm.so", "/b/libm_pic.os", "", errNoLink},
		"part of a name": {"/b/libc.s", "/b/libc_pic.os", "", errNoLink},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := linkCommand(log, tc.output, tc.input); got != tc.want ||
				!errors.Is(err, tc.wantErr) {
				t.Errorf("linkCommand = %q, %v; want %q, %v", got, err, tc.want, tc.wantErr)
			}
		})
	}
}
