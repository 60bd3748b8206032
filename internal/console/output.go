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

// output receives results. A failed write must not abort the work half-way, nor pass unnoticed: the
// first error is kept until the end, and later output is discarded.
type output struct {
	w   io.Writer
	mu  sync.Mutex
	err error
}

// Write always reports success; see lost.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		_, o.err = o.w.Write(p)
	}
	return len(p), nil
}

// lost returns why the result was not written. A closed pipe is no error: its reader, such as head,
// had seen enough.
func (o *output) lost() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil || errors.Is(o.err, syscall.EPIPE) {
		return nil
	}
	return fmt.Errorf("everything is done, but the result cannot be written: %w", o.err)
}

// surviveReaders keeps SIGPIPE from killing this process: otherwise the first line printed after
// the reader of the output has exited would abort a run over all processes. Child processes are not
// affected.
func surviveReaders() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// IsTerminal reports whether a writer is a terminal.
func IsTerminal(w io.Writer) bool {
	if o, ok := w.(*output); ok {
		w = o.w
	}
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
