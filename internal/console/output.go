package console

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/term"
)

// output is where results go. A result that cannot be written must not end the work half-way, and
// must not be lost without a word either: the first error is kept for the end, and what comes after
// it is thrown away.
type output struct {
	w   io.Writer
	mu  sync.Mutex
	err error
}

// Write always says that everything is written; see lost.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		_, o.err = o.w.Write(p)
	}
	return len(p), nil
}

// lost returns why the result was not written. Who reads from a pipe and has seen enough, as head
// does, has lost nothing.
func (o *output) lost() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil || errors.Is(o.err, syscall.EPIPE) {
		return nil
	}
	return fmt.Errorf("everything is done, but the result cannot be written: %w", o.err)
}

// surviveReaders lets this process go on when the reader of its output is gone: without it the
// first line after that would end a run over all processes in the middle. Programs that it starts
// are not concerned.
func surviveReaders() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// IsTerminal says whether a writer is a terminal.
func IsTerminal(w io.Writer) bool {
	if o, ok := w.(*output); ok {
		w = o.w
	}
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
