// Package gate decides whether a compiled live patch can work in one build: it rejects what cannot,
// with every reason at once, and says which engines can apply what passes.
//
//	Subject ─ Check ─► Findings ─ (ulp.Pack) ─► Subject.Engines
//	   └─ Scope ◄─ Exports of the build and of others in the lock
//
// It knows a build by its catalogue alone, and never runs anything. Where the catalogue cannot
// answer, that is a finding of its own, never a pass in silence. The native engine is asked by its
// own code, so that gate and engine cannot disagree.
package gate
