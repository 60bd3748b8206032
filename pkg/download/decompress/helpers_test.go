package decompress_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/download/decompress"
)

// way is one way to read a format.
type way struct {
	name    string
	format  decompress.Format
	inside  bool   // Options.NoSystemXZ
	tool    string // command that compresses
	checked bool   // has a checksum
}

// ways lists everything that NewReader supports, other than None.
var ways = []way{
	{"gzip", decompress.Gzip, false, "gzip -nc", true},
	{"zstd", decompress.Zstd, false, "zstd -qc", true},
	{"bzip2", decompress.Bzip2, false, "bzip2 -c", true},
	{"xz", decompress.XZ, false, "xz -c", true},
	{"xz inside", decompress.XZ, true, "xz -c", true},
	{"lzma", decompress.LZMA, false, "xz -c --format=lzma", false},
	{"lzma inside", decompress.LZMA, true, "xz -c --format=lzma", false},
}

// each runs a test for every way.
func each(t *testing.T, f func(t *testing.T, w way)) {
	t.Helper()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) { f(t, w) })
	}
}

// read reads all of packed. w determines o.NoSystemXZ.
func (w way) read(ctx context.Context, packed io.Reader, o decompress.Options) ([]byte, error) {
	o.NoSystemXZ = w.inside
	r, err := decompress.NewReader(ctx, w.format, packed, o)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

var packed sync.Map // command and data → result

// pack returns data compressed by a command, which runs only once.
func pack(t testing.TB, command string, data []byte) []byte {
	t.Helper()
	key := command + "\x00" + string(data)
	if out, ok := packed.Load(key); ok {
		return out.([]byte)
	}
	args := strings.Fields(command)
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	packed.Store(key, out)
	return out
}

// text returns n bytes that compress about as well as a list of packages.
func text(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("glibc debuginfo x86_64 150300 150600 <package> </package> libc.so.6 " +
		"GLIBC_2.34 provides")
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(words[r.IntN(len(words))])
		b.WriteByte(byte('0' + r.IntN(10)))
	}
	return b.Bytes()[:n]
}
