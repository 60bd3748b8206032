package realtest

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// enabledChromium is the variable that lets TestChromium run: Chromium is large.
const enabledChromium = "LPBUILD_TEST_CHROMIUM"

// chromiumPath is the program itself; /usr/bin/chromium is a script.
const chromiumPath = "/usr/lib/chromium/chromium"

// TestChromium patches and reverts all of Chromium, its sandboxed renderers included, while it
// loads page after page. Half of the renderers are forked while the live patch is applied. It makes
// no difference whether system call filters are suspended or obeyed, since those of Chromium permit
// what patching takes. All bytes that the pages send back are right, and nothing crashes.
func TestChromium(t *testing.T) {
	if os.Getenv(inside) == "" || os.Getenv(enabledChromium) == "" {
		t.Skip("patches Chromium: run \"make test-chromium\"")
	}
	for _, seccomp := range []string{"suspend", "obey"} {
		t.Run(seccomp, func(t *testing.T) {
			s := servePages(t)
			pid, home := startChromium(t, s.page(0))
			s.more(t, 20)
			renderers := func() []int { return filtered(t, pid) }
			await(t, "sandboxed renderers", func() bool { return len(renderers()) > 0 })
			uses := []string{"read", "write", "epoll_wait"}
			stops := cycle(t, pid, cycles/3, uses, renderers, func() { s.more(t, 10) },
				"--seccomp="+seccomp)
			if dumps := crashes(t, home); len(dumps) > 0 {
				t.Errorf("processes crashed: %q", dumps)
			}
			t.Logf("%d answers from %d pages; stops: %v", s.answers.Load(), s.pages.Load(), stops)
		})
	}
}

// startChromium starts Chromium as nobody, with its sandbox of user namespaces and filters, and
// returns its home.
func startChromium(t testing.TB, url string) (pid int, d string) {
	t.Helper()
	d = home(t)
	log, err := os.Create(filepath.Join(d, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(chromiumPath, "--headless", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--enable-crash-reporter", "--user-data-dir="+filepath.Join(d, "data"),
		url)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, nobody
	cmd.Env = append(environment, "HOME="+d, "TMPDIR="+d)
	start(t, cmd)
	t.Cleanup(func() {
		if text, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("Chromium says:\n%s", text)
		}
	})
	return cmd.Process.Pid, d
}

// filtered returns the renderers of a Chromium that have a system call filter.
func filtered(t testing.TB, pid int) (list []int) {
	t.Helper()
	for _, p := range family(t, pid) {
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p)) // it may have ended
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p))
		if bytes.Contains(args, []byte("--type=renderer")) &&
			bytes.Contains(status, []byte("\nSeccomp:\t2\n")) {
			list = append(list, p)
		}
	}
	return list
}

// crashes returns the dumps that Chromium's crash handler has written.
func crashes(t testing.TB, home string) (dumps []string) {
	t.Helper()
	err := filepath.WalkDir(home, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".dmp") {
			dumps = append(dumps, path)
		}
		return nil // files come and go
	})
	if err != nil {
		t.Fatal(err)
	}
	return dumps
}

// pages is a web server whose pages fetch data, send them back reversed, and go on to the next
// page, which is of another site, so that it gets another renderer.
type pages struct {
	port           int
	answers, pages atomic.Int64
	wrong          atomic.Pointer[string]
}

const pageText = `<!DOCTYPE html><title>%[1]d</title><script>
(async () => {
  for (let i = 0; i < 10; i++) {
    const data = new Uint8Array(await (await fetch('/data/%[1]d/' + i)).arrayBuffer());
    await fetch('/data/%[1]d/' + i, {method: 'POST', body: data.reverse()});
  }
  location = '%[2]s';
})();
</script>`

func servePages(t testing.TB) *pages {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &pages{port: listener.Addr().(*net.TCPAddr).Port}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /page/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.PathValue("n"))
		s.pages.Add(1)
		fmt.Fprintf(w, pageText, n, s.page(n+1))
	})
	mux.HandleFunc("GET /data/{n}/{i}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(dataOf(r))
	})
	mux.HandleFunc("POST /data/{n}/{i}", func(_ http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		want := dataOf(r)
		if slices.Reverse(want); err != nil || !bytes.Equal(got, want) {
			text := fmt.Sprintf("%s: %d bytes are not the %d that are right; %v", r.URL, len(got),
				len(want), err)
			s.wrong.Store(&text)
			return
		}
		s.answers.Add(1)
	})
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return s
}

// page returns the address of a page.
func (s *pages) page(n int) string {
	return fmt.Sprintf("http://%s:%d/page/%d", []string{"127.0.0.1", "localhost"}[n%2], s.port, n)
}

// dataOf returns the data of a request.
func dataOf(r *http.Request) []byte {
	n, _ := strconv.ParseUint(r.PathValue("n"), 10, 64)
	i, _ := strconv.ParseUint(r.PathValue("i"), 10, 64)
	return noise(n, i, int(1+(n*1000+i*977)%50_000))
}

// more waits until n more answers came, all of which are right.
func (s *pages) more(t testing.TB, n int64) {
	t.Helper()
	want := s.answers.Load() + n
	await(t, fmt.Sprintf("%d more answers of pages", n), func() bool {
		if wrong := s.wrong.Load(); wrong != nil {
			t.Fatal(*wrong)
		}
		return s.answers.Load() >= want
	})
}
