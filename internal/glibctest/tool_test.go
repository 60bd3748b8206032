package glibctest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
)

func TestTool(t *testing.T) {
	t.Setenv("CFLAGS", "-Owrong")
	var log bytes.Buffer
	out, err := tool{dir: "/", env: []string{"WITH=this"}, log: &log,
		args: []string{"sh", "-c", "pwd; echo $WITH $CFLAGS; echo said >&2"}}.run(t.Context())
	if err != nil || out != "/\nthis\n" || log.String() != out {
		t.Errorf("run = %q, %v; log %q", out, err, log.String())
	}
	ended, end := context.WithCancelCause(t.Context())
	end(errors.New("enough"))
	tests := map[string]struct {
		ctx  context.Context
		args []string
		want string
	}{
		"failed": {t.Context(), []string{"sh", "-c", "echo because >&2; exit 3"},
			"sh: exit status 3: because"},
		"missing":   {t.Context(), []string{"no-such-tool"}, "make test-glibc"},
		"cancelled": {ended, []string{"sh", "-c", "exit 0"}, "sh: enough"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := (tool{args: tc.args}).run(tc.ctx); err == nil ||
				!strings.Contains(err.Error(), tc.want) {
				t.Errorf("run: %v, want %q", err, tc.want)
			}
		})
	}
}

// TestEnding checks that the end of the output is kept, however it was written.
func TestEnding(t *testing.T) {
	e := &ending{}
	for range 5000 {
		e.Write([]byte("0123456789\n"))
	}
	e.Write([]byte("the end\n"))
	if got := e.String(); len(got) > endingSize || !strings.HasSuffix(got, "9\nthe end") ||
		len(e.text) > 2*endingSize {
		t.Errorf("%d bytes kept, %d shown: …%s", len(e.text), len(got), got[max(0, len(got)-20):])
	}
}
