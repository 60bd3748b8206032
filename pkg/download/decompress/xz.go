package decompress

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// errProcess means that the system's xz failed for a reason other than the data.
var errProcess = errors.New("the system's xz")

// waitDelay is the time that a stopped xz has to exit, and its input to return.
const waitDelay = 500 * time.Millisecond

// newXZ returns a decoder of xz or lzma: the system's if there is one, else one in this process.
func newXZ(ctx context.Context, f Format, src *source, o Options) io.ReadCloser {
	if !o.NoSystemXZ {
		if p, err := startXZ(ctx, f, src, o.MaxMemory); err == nil {
			return p
		}
	}
	if f == LZMA {
		return newLZMA(src, o.MaxMemory)
	}
	return newXZStream(src, o.MaxMemory)
}

// process is a running xz.
type process struct {
	cmd    *exec.Cmd
	out    *bufio.Reader
	stderr tail
	cancel context.CancelFunc
	err    error
	waited bool
}

// startXZ starts the system's xz on src. If it returns an error, nothing was read yet.
func startXZ(ctx context.Context, f Format, src io.Reader, maxMemory uint64) (*process, error) {
	name, err := exec.LookPath("xz")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &process{cancel: cancel}
	// xz counts all the memory it uses: slightly more than the dictionary. It uses more threads if
	// that leaves room.
	p.cmd = exec.CommandContext(ctx, name, "--decompress", "--stdout", "--threads=0", "--format="+
		string(f),
		"--memlimit-decompress="+strconv.FormatUint(maxMemory+maxMemory/8+(1<<20), 10))
	p.cmd.Args[0] = "xz"             // the prefix of its messages
	p.cmd.Env = []string{"LC_ALL=C"} // and no XZ_OPT
	p.cmd.Stdin, p.cmd.Stderr = src, &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Cancel = func() error { return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }
	p.cmd.WaitDelay = waitDelay
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	p.out = bufio.NewReaderSize(out, inputBuffer) // readers of archives read in small pieces
	return p, nil
}

func (p *process) Read(b []byte) (int, error) {
	if p.waited {
		return 0, p.err
	}
	n, err := p.out.Read(b)
	if err != nil {
		p.wait()
		err = p.err
	}
	return n, err
}

// wait waits for xz to exit and keeps the outcome: io.EOF if it succeeded.
func (p *process) wait() {
	if p.waited {
		return
	}
	p.waited = true
	err := p.cmd.Wait()
	p.cancel()
	switch message := strings.TrimPrefix(p.stderr.String(), "xz: (stdin): "); {
	case err == nil:
		p.err = io.EOF
	case strings.Contains(message, "Unexpected end of input"):
		p.err = io.ErrUnexpectedEOF
	case strings.Contains(message, "corrupt"), strings.Contains(message, "not recognized"):
		p.err = errors.New(message)
	case strings.Contains(message, "Memory usage limit reached"):
		p.err = fmt.Errorf("dictionary: %w", ErrTooLarge)
	case strings.Contains(message, "Unsupported"):
		p.err = fmt.Errorf("%s: %w", message, ErrUnsupported)
	default:
		p.err = fmt.Errorf("%w: %w: %s", errProcess, err, message)
	}
}

// Close ends xz if it is still running, and discards its error.
func (p *process) Close() error {
	p.cancel()
	p.wait()
	return nil
}

// tail keeps the last bytes written to it.
type tail struct{ buf []byte }

const tailSize = 1000

func (t *tail) Write(b []byte) (int, error) {
	t.buf = append(t.buf, b[max(0, len(b)-tailSize):]...)
	t.buf = t.buf[max(0, len(t.buf)-tailSize):]
	return len(b), nil
}

func (t *tail) String() string { return string(bytes.TrimSpace(t.buf)) }
