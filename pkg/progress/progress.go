// Package progress is how long work tells whoever watches how far it is.
//
// Libraries only emit events. What becomes of them (a bar on a terminal, plain lines in a log, JSON for a program) is
// decided by the command.
package progress

// Event is one step of some work. Events of one Task come in order; those of different tasks may interleave.
type Event struct {
	Stage  string // what is being done: "metadata", "fetch", "extract", "compile", "pack" …
	Task   string // to what: a file, a build, a container
	Done   int64  // how far: bytes when Bytes is set, else items
	Total  int64  // 0: not known
	Bytes  bool
	Final  bool   // nothing more comes for this task
	Failed bool   // it ended without being done; goes with Final
	Note   string // one line worth keeping in a log; "" for events that only move a bar
	Warn   bool   // the note is a warning
}

// Func receives events. It may be called from several goroutines at once. A nil Func is silent.
type Func func(Event)

// Emit sends an event to f if there is somebody listening.
func (f Func) Emit(e Event) {
	if f != nil {
		f(e)
	}
}

// Note sends a line worth keeping in a log.
func (f Func) Note(stage, note string) { f.Emit(Event{Stage: stage, Note: note}) }

// Warn sends a line that a person must see.
func (f Func) Warn(stage, note string) { f.Emit(Event{Stage: stage, Note: note, Warn: true}) }
