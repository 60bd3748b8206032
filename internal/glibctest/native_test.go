package glibctest

import "testing"

// TestNative patches without a preload, by the engine that loads containers itself.
func TestNative(t *testing.T) { theWorld(t).live(t, "native") }
