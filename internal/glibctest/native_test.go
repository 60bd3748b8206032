package glibctest

import (
	"debug/elf"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestNative patches without a preload, with the engine that loads containers itself.
func TestNative(t *testing.T) {
	w := theWorld(t)
	w.live(t, "native", func(t *testing.T, build int) *program { return w.start(t, build) })
}

// TestNativeByLoader does so in programs started by each build's own loader.
func TestNativeByLoader(t *testing.T) {
	w := theWorld(t)
	w.live(t, "native", w.startByLoader)
}

// TestVariants starts the program as on other processors, so that it uses other implementations of
// memcpy: each is patched, by the one live patch that replaces them all.
func TestVariants(t *testing.T) {
	w := theWorld(t)
	used := map[string]string{}
	for _, without := range []string{"", "-AVX512VL,-AVX512F,-AVX512_Usable",
		"-AVX512VL,-AVX512F,-ERMS", "-AVX512VL,-AVX512F,-RTM,-AVX_Fast_Unaligned_Load,-AVX2",
		"-AVX512VL,-AVX512F,-AVX_Fast_Unaligned_Load,-AVX2,-ERMS",
		"-AVX512VL,-AVX512F,-AVX_Fast_Unaligned_Load,-AVX2,-SSSE3,-Fast_Unaligned_Copy",
		"-AVX512VL,-AVX512F,-AVX_Fast_Unaligned_Load,-AVX2,-Fast_Unaligned_Copy"} {
		p := w.start(t, 0, "GLIBC_TUNABLES=glibc.cpu.hwcaps="+without)
		used[w.variant(t, p)] = without
		w.change(t, p, "trigger", "patched", "native", w.container(t, "memcpy", w.builds[0]))
		p.wants(t, "memcpy")
		w.change(t, p, "revert", "reverted", "native", w.container(t, "memcpy", w.builds[0]))
		p.wants(t)
	}
	t.Log(used)
	if len(used) < 2 {
		t.Errorf("only one implementation was used: %v", used)
	}
}

// variant returns the name of the implementation of memcpy that a program uses, on the first build.
func (w *world) variant(t *testing.T, p *program) string {
	t.Helper()
	at, err := strconv.ParseUint(p.ask(t, "address"), 0, 64)
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/" + p.pid + "/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(strings.TrimSpace(line), "/"+libcName) {
			base, _ := strconv.ParseUint(line[:strings.Index(line, "-")], 16, 64)
			at -= base
			break
		}
	}
	for s := range w.library(t, w.builds[0]).Symbols() {
		if s.Value == at && s.Type() == elf.STT_FUNC && strings.HasPrefix(s.Name, "__memcpy_") {
			return s.Name
		}
	}
	t.Fatalf("nothing is at %#x", at)
	return ""
}
