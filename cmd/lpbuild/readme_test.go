package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/distro"
)

// step is a command of a page, and what the page says that it prints.
type step struct {
	line    int // in the page
	command string
	want    []string
}

// block is a part of a page between lines of "```".
type block struct {
	line  int    // of the "```" that it begins with
	kind  string // what is written after that: "console"
	file  string // "NAME" if the text before it is a line "NAME:"
	lines []string
}

// fileName is a line before a block that is the text of a file.
var fileName = regexp.MustCompile(`^(\S+\.\S+):$`)

// readBlocks returns the blocks of a page.
func readBlocks(text string) []block {
	var blocks []block
	inside, before := false, ""
	for i, line := range strings.Split(text, "\n") {
		kind, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && inside:
			inside, before = false, ""
		case isFence:
			b := block{line: i + 1, kind: kind}
			if m := fileName.FindStringSubmatch(before); m != nil {
				b.file = m[1]
			}
			blocks, inside = append(blocks, b), true
		case inside:
			blocks[len(blocks)-1].lines = append(blocks[len(blocks)-1].lines, line)
		case line != "":
			before = line
		}
	}
	return blocks
}

// readSteps returns the commands of the blocks of the kind "console" in a page: a line that begins
// with "$ " or "# ", and those after it as long as they end with "\". The others are what it
// prints, "..." standing for any lines. A block that is the text of a file becomes a command that
// writes the file.
func readSteps(t testing.TB, page, text string) []step {
	t.Helper()
	var steps []step
	for _, b := range readBlocks(text) {
		switch {
		case b.file != "":
			write := "cat > " + b.file + " <<'END OF FILE'\n" + strings.Join(b.lines, "\n") +
				"\nEND OF FILE"
			steps = append(steps, step{b.line, write, nil})
			continue
		case b.kind != "console":
			continue
		}
		open := false
		for i, line := range b.lines {
			last := len(steps) - 1
			switch {
			case open:
				steps[last].command += "\n" + line
				open = strings.HasSuffix(line, `\`)
			case strings.HasPrefix(line, "$ "), strings.HasPrefix(line, "# "):
				steps = append(steps, step{line: b.line + i + 1, command: line[2:]})
				open = strings.HasSuffix(line, `\`)
			case i == 0:
				t.Fatalf("%s:%d: output without a command", page, b.line+1)
			default:
				steps[last].want = append(steps[last].want, line)
			}
		}
	}
	return steps
}

// changing are the parts of lines that differ from run to run, and their replacements for a
// comparison: PIDs, times, build-ids, column widths, and the number of programs of the transaction
// itself.
var changing = []struct {
	pattern *regexp.Regexp
	as      string
}{
	{regexp.MustCompile(`\(\d+\)`), "(PID)"},
	{regexp.MustCompile(`^\d+  +`), "PID "},
	{regexp.MustCompile(`\d+(\.\d)? [µm]?s\b`), "N µs"},
	{regexp.MustCompile(`\b[0-9a-f]{12}\b`), "BUILD"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`), "TIME"},
	{regexp.MustCompile(`Skipped: \d+`), "Skipped: N"},
	{regexp.MustCompile(`\d+ skipped`), "N skipped"},
	{regexp.MustCompile(` +`), " "},
}

func asShown(line string) string {
	for _, c := range changing {
		line = c.pattern.ReplaceAllString(line, c.as)
	}
	return strings.TrimSpace(line)
}

// compare checks that the output has the shown lines, in their order and without others in between
// except for "...".
func compare(shown []string, printed string) error {
	lines := strings.Split(strings.TrimSuffix(printed, "\n"), "\n")
	if printed == "" {
		lines = nil
	}
	sortResults(shown)
	sortResults(lines)
	at, anywhere := 0, false
	for _, want := range shown {
		if want == "..." {
			anywhere = true
			continue
		}
		for anywhere && at < len(lines) && asShown(lines[at]) != asShown(want) {
			at++
		}
		if at == len(lines) || asShown(lines[at]) != asShown(want) {
			return fmt.Errorf("line %d is not %q in\n%s", at+1, want, printed)
		}
		at, anywhere = at+1, false
	}
	if at < len(lines) && !anywhere {
		return fmt.Errorf("%q is not shown", lines[at])
	}
	return nil
}

// sortResults sorts lines about single processes by name, because processes are patched in
// parallel.
func sortResults(lines []string) {
	isResult := func(line string) bool {
		return strings.HasPrefix(line, "patched  ") || strings.HasPrefix(line, "reverted  ")
	}
	for i := range lines {
		for at := i; at > 0 && isResult(lines[at]) && isResult(lines[at-1]) &&
			lines[at] < lines[at-1]; at-- {
			lines[at], lines[at-1] = lines[at-1], lines[at]
		}
	}
}

func TestCompare(t *testing.T) {
	for _, tc := range []struct {
		shown, printed string
		same           bool
	}{
		{"a\n...\nd", "a\nb\nc\nd\n", true}, {"...", "a\n", true}, {"...\nb", "a\nb\n", true},
		{"a\nb", "a\nb\n", true},
		{"a", "a\nb\n", false}, {"b", "a\nb\n", false}, {"a\n...\nd", "a\nb\n", false},
		{"a\nb", "a\n", false},
		{"x (12) took 3 µs", "x (4711) took 812 µs\n", true}, {"x (12) took 3 µs",
			"y (12) took 3 µs\n", false},
		{"x (12) took 3 µs", "x (12) took 1.4 ms\n", true}, {"x (12) took 3 µs",
			"x (12) took 2 steps\n", false},
		{"1 of 2", "1 of 3\n", false}, {"patched  a\npatched  b", "patched  b\npatched  a\n", true},
	} {
		if err := compare(strings.Split(tc.shown, "\n"), tc.printed); (err == nil) != tc.same {
			t.Errorf("%q in %q: %v", tc.shown, tc.printed, err)
		}
	}
	if err := compare(nil, "a\n"); err == nil {
		t.Error("what is not shown is not missed")
	}
}

// TestReadme runs the commands of README.md as they stand there, one after another, in one shell of
// a machine of its own, in a directory that has what "make demo" leaves. What the commands print is
// what README.md shows. The program that is patched is real, and says which code it runs.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	check(t, err)
	steps := readSteps(t, "README.md", string(text))
	dir := enter(t, usePackages)
	if dir == "" {
		return
	}
	s := newSystem(t, dir, "machine")
	check(t, unix.Mount("tmpfs", s.path("/tmp"), "tmpfs", 0, ""))
	check(t, os.MkdirAll(s.path("/home/jane/bin"), 0o755))
	s.copy(filepath.Join(dir, "packages/bin/lpbuild"), "/home/jane/bin/lpbuild")
	check(t, os.CopyFS(s.path("/home/jane/demo-out/repository"),
		os.DirFS(filepath.Join(dir, "packages/repository"))))
	sh := newShell(t, s)
	for _, step := range steps {
		sh.walk(t, "README.md", step)
	}
	if len(steps) < 15 {
		t.Errorf("README.md has %d commands: are they still found?", len(steps))
	}
}

// walk runs a step of a page, and checks its output against the page.
func (sh *shell) walk(t testing.TB, page string, step step) {
	t.Helper()
	printed, err := sh.run(step.command)
	if err == nil {
		err = compare(step.want, printed)
	}
	if err != nil {
		t.Fatalf("%s:%d: %s\n%v\n%s", page, step.line, step.command, err, sh.complaints())
	}
}

// TestWalkthrough runs the commands of docs/walkthrough.md as they stand there, one after another,
// in one shell of a machine of its own, on which lpbuild's RPM is installed. The repository has the
// address that the page gives it. What the commands print is what the page shows, and processes
// with two builds of the library say that it is true.
func TestWalkthrough(t *testing.T) {
	const page = "docs/walkthrough.md"
	text, err := os.ReadFile("../../" + page)
	check(t, err)
	steps := readSteps(t, page, string(text))
	dir := enter(t, usePackages)
	if dir == "" {
		return
	}
	s := newReader(t, dir)
	all := []*live{s.program("mysqld", serviceBuilds[0]), s.program("postgres", serviceBuilds[1])}
	sh := newShell(t, s)
	say(all, saysNothing)
	// after each command that changes processes
	states := []string{saysFirst, saysSecond, saysNothing}
	for _, step := range steps {
		sh.walk(t, page, step)
		if strings.HasPrefix(step.command, "rpm -U ") ||
			strings.HasPrefix(step.command, "lpbuild-engine revert ") {
			if len(states) == 0 {
				t.Fatalf("%s:%d: what becomes of the processes by this?", page, step.line)
			}
			say(all, states[0])
			states = states[1:]
		}
	}
	if len(states) > 0 {
		t.Errorf("%s does not come to %q", page, states)
	}
}

// newReader creates the machine of a reader of docs/walkthrough.md.
func newReader(t testing.TB, dir string) *scratch {
	t.Helper()
	s := newSystem(t, dir, "machine")
	check(t, unix.Mount("tmpfs", s.path("/tmp"), "tmpfs", 0, ""))
	check(t, os.MkdirAll(s.path("/home/jane"), 0o755))
	s.copy(filepath.Join(dir, "packages/repository/key.asc"), "/home/jane/vendor.asc")
	serveExample(t, s, filepath.Join(dir, "packages/repository"))
	installTools(t, s, dir, "rpm --import vendor.asc")
	return s
}

// installTools installs lpbuild, and names of what is installed otherwise, in the database that rpm
// uses on the machine. It is empty when the other commands run.
func installTools(t testing.TB, s *scratch, dir string, others ...string) {
	t.Helper()
	check(t, os.MkdirAll(s.path("/srv"), 0o755))
	check(t, os.CopyFS(s.path("/srv/rpms"), os.DirFS(filepath.Join(dir, "packages/v1"))))
	sh := newShell(t, s)
	commands := append([]string{`rm -rf "$(rpm --eval %_dbpath)"`}, others...)
	commands = append(commands, "rpm -U /srv/rpms/*/{bash,gcc,lpbuild,lpbuild-engine}-[0-9]*.rpm")
	for _, command := range commands {
		if _, err := sh.run(command); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, sh.complaints())
		}
	}
}

// program starts the service under another name.
func (s *scratch) program(name, build string) *live {
	s.t.Helper()
	s.copy(s.path(liveDir+"/service"), "/usr/sbin/"+name)
	return begin(s.t, s.root, exec.Command("/usr/sbin/"+name, liveDir+"/"+build+"/lib64/libc.so.6"))
}

// serveExample is https://example.com for the machine. Its network has nothing but this.
func serveExample(t testing.TB, s *scratch, repository string) {
	t.Helper()
	top := t.TempDir()
	check(t, os.MkdirAll(filepath.Join(top, "15-SP5"), 0o755))
	check(t, os.CopyFS(filepath.Join(top, "15-SP5/x86_64"), os.DirFS(repository)))
	sh(t, "ip", "link", "set", "lo", "up")
	server, err := distro.ServeTLS(top)
	check(t, err)
	t.Cleanup(func() { _ = server.Close() })
	port443, err := net.Listen("tcp", "127.0.0.1:443")
	check(t, err)
	t.Cleanup(func() { _ = port443.Close() })
	go forward(port443, strings.TrimPrefix(server.URL, "https://"))
	check(t, os.WriteFile(s.path("/etc/hosts"), []byte("127.0.0.1 localhost example.com\n"), 0o644))
	check(t, os.WriteFile(s.path("/etc/example.pem"), server.Certificate(), 0o644))
}

// forward passes connections on until the listener is closed.
func forward(l net.Listener, address string) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", address)
		if err != nil {
			in.Close()
			continue
		}
		pass := func(to, from net.Conn) {
			_, _ = io.Copy(to, from) // either end may go at any time
			to.Close()
		}
		go pass(out, in)
		go pass(in, out)
	}
}

// shell is a bash that runs commands on a machine.
type shell struct {
	in     io.Writer
	out    *bufio.Reader
	errors string // what it says on stderr
}

// newShell starts a shell in the home directory of a user.
func newShell(t testing.TB, s *scratch) *shell {
	t.Helper()
	sh := &shell{errors: filepath.Join(t.TempDir(), "errors")}
	complaints, err := os.Create(sh.errors)
	check(t, err)
	defer complaints.Close()
	cmd := exec.Command("bash")
	cmd.Dir, cmd.Stderr = "/home/jane", complaints
	cmd.Env = []string{"HOME=/home/jane", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8",
		"SSL_CERT_FILE=/etc/example.pem"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: s.root}
	sh.in, err = cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	sh.out = bufio.NewReader(out)
	return sh
}

// endOfCommand is printed after each command, with its exit code.
const endOfCommand = "-- end of the command: "

// run runs a command and returns what it prints on stdout.
func (sh *shell) run(command string) (string, error) {
	if _, err := fmt.Fprintf(sh.in, "{ %s\n} </dev/null\necho \"%s$?\"\n", command,
		endOfCommand); err != nil {
		return "", err
	}
	var printed strings.Builder
	for {
		line, err := sh.out.ReadString('\n')
		if before, code, ok := strings.Cut(line, endOfCommand); ok {
			printed.WriteString(before)
			if code != "0\n" {
				return "", errors.New("exit code " + strings.TrimSpace(code) + "\n" +
					printed.String())
			}
			return printed.String(), nil
		}
		if printed.WriteString(line); err != nil {
			return printed.String(), err
		}
	}
}

// complaints returns the standard error of all commands.
func (sh *shell) complaints() string {
	data, _ := os.ReadFile(sh.errors)
	return string(data)
}
