package glibctest

import "testing"

// TestNative patches without a preload, by the engine that loads containers itself.
func TestNative(t *testing.T) {
	w := theWorld(t)
	w.live(t, "native", func(t *testing.T, build int) *program { return w.start(t, build) })
}

// TestNativeByLoader does so in programs that each build's own loader was told to start.
func TestNativeByLoader(t *testing.T) {
	w := theWorld(t)
	w.live(t, "native", w.startByLoader)
}
