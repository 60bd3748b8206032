package rpmfile_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/download/rpmfile"
)

// TestExtractHostilePayload has a malicious payload after a valid header. The wanted file is the
// last one in the list, so that all entries are read.
func TestExtractHostilePayload(t *testing.T) {
	const regular, link, dir = 0o100644, 0o120777, 0o040755
	last := cpioEntry{name: "./usr/share/demo/libdemo.so.6", mode: regular, data: "not a library\n"}
	lib := cpioEntry{name: "./usr/lib64/libtwice.so.1", mode: regular, data: "64\n"}
	head := func(name, size string) string {
		return "070701" + strings.Repeat("00000000", 1) + "000081a4" + strings.Repeat("00000000",
			4) + size + strings.Repeat("00000000", 4) + name + "00000000"
	}
	tests := map[string]struct {
		payload []byte
		want    string
	}{
		"dots": {archive(cpioEntry{name: "./../../etc/passwd",
			mode: regular}, last), "leads out of the package"},
		"dots inside": {archive(cpioEntry{name: "./usr/lib64/../lib64/libtwice.so.1", mode: regular,
			data: "64\n"}, last), "leads out of the package"},
		"an absolute path": {archive(cpioEntry{name: "/etc/passwd", mode: regular,
			data: "x"}, last), "not in the header's list"},
		"not in the list": {archive(cpioEntry{name: "./usr/lib64/libevil.so",
			mode: regular, data: "x"}, last), "not in the header's list"},
		"a ghost": {archive(cpioEntry{name: "./var/lib/demo/ghost.so",
			mode: regular}, last), "not in the header's list"},
		"no name": {archive(cpioEntry{name: "\x00", mode: regular}, last),
			"not in the header's list"},
		"a link for a file": {archive(cpioEntry{name: last.name, mode: link,
			data: "/etc/passwd/../x"}), "another file type"},
		"a link for a directory": {archive(cpioEntry{name: "./usr/share/demo", mode: link,
			data: "/etc"}, last), "another file type"},
		"a directory for a file": {archive(cpioEntry{name: last.name, mode: dir}),
			"another file type"},
		"twice": {archive(lib, lib, last), "occurs twice"},
		"a file that is longer": {archive(cpioEntry{name: last.name, mode: regular,
			data: last.data + "x"}), "has 15 bytes, but 14"},
		"a file that is shorter": {archive(cpioEntry{name: last.name, mode: regular,
			data: "x"}), "has 1 bytes"},
		"a file that is empty": {archive(cpioEntry{name: last.name, mode: regular}),
			"has 0 bytes"},
		"other content": {archive(cpioEntry{name: last.name, mode: regular,
			data: "NOT A LIBRARY\n"}), "digest mismatch"},
		"an end without the file": {archive(lib), "in the header's list, but not in the " +
			"payload"},
		"nothing":                {zipped(nil), "unexpected EOF"},
		"cut off in the content": {zipped(rawArchive(last)[:150]), "unexpected EOF"},
		"cut off in the head":    {zipped(rawArchive(last)[:50]), "unexpected EOF"},
		"cut off in the name":    {zipped(rawArchive(last)[:120]), "unexpected EOF"},
		"cut off compression":    {archive(lib, last)[:40], "EOF"},
		"not compressed":         {rawArchive(lib, last), "gzip"},
		"another magic": {zipped([]byte("070707" + strings.Repeat("0", 200))),
			"an entry cannot begin with"},
		"a name of four gigabytes": {zipped(rawArchive(cpioEntry{name: "x",
			head: head("ffffffff", "00000000")})), "a name has 4294967295 bytes"},
		"a name of no bytes": {zipped(rawArchive(cpioEntry{name: "x",
			head: head("00000000", "00000000")})), "a name has 0 bytes"},
		"a name without end": {zipped(rawArchive(cpioEntry{name: "xyz",
			head: head("00000003", "00000000")})), "has no final NUL"},
		"a negative number": {zipped(rawArchive(cpioEntry{name: "x",
			head: head("-0000001", "00000000")})), "hexadecimal"},
		"a file of four gigabytes": {zipped(rawArchive(cpioEntry{name: lib.name,
			head: head("0000001a", "ffffffff")})), "has 4294967295 bytes"},
		"short form, outside": {archive(cpioEntry{number: 1 << 20}),
			"file 1048576 is not in the header's list"},
		"short form, not a number": {zipped([]byte("07070X-0000001" +
			strings.Repeat("0", 200))), "hexadecimal"},
		"a bomb": {archive(cpioEntry{name: "./usr/share/demo", mode: dir,
			data: strings.Repeat("\x00", 1<<20)}, last), "exceeds the size limit"},
		"a name that RPM used to give": {archive(cpioEntry{name: "usr/share/demo/libdemo.so.6",
			mode: regular, data: last.data}), ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := parse(t, crafted(t, func(p *parts) { p.payload = tc.payload }))
			got, onDisk, err := extract(t, r, []string{"/usr/share/demo/libdemo.so.6"},
				rpmfile.ExtractOptions{})
			if tc.want == "" {
				if err != nil || len(onDisk) != 1 {
					t.Errorf("got %v", err)
				}
				return
			}
			var format *rpmfile.FormatError
			if got != nil || !errors.As(err, &format) || len(onDisk) != 0 ||
				!strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, %v, %v; want %q", got, onDisk, err, tc.want)
			}
		})
	}
}
