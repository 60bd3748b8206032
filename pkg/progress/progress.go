// Package progress lets long work report how far it is.
//
// Libraries only emit events. Commands decide how to show them: a bar on a terminal, plain lines in
// a log, or JSON for a program.
package progress

// Event is one step of some work. Events of one Task come in order; those of different tasks may
// interleave.
type Event struct {
	Stage  string // the kind of work: "metadata", "fetch", "extract", "compile", "pack" …
	Task   string // its object: a file, a build, a container
	Done   int64  // progress: bytes if Bytes is set, otherwise items
	Total  int64  // 0 if unknown
	Bytes  bool
	Final  bool   // the last event of this task
	Failed bool   // the task ended without success; only with Final
	Note   string // one line worth keeping in a log; "" for events that only move a bar
	Warn   bool   // the note is a warning
}

// Func receives events. It may be called from several goroutines at once. A nil Func discards them.
type Func func(Event)

// Emit sends an event to f, unless f is nil.
func (f Func) Emit(e Event) {
	if f != nil {
		f(e)
	}
}

// Note sends a line worth keeping in a log.
func (f Func) Note(stage, note string) { f.Emit(Event{Stage: stage, Note: note}) }

// Warn sends a line that the user must see.
func (f Func) Warn(stage, note string) { f.Emit(Event{Stage: stage, Note: note, Warn: true}) }
