// Command testrun runs "go test" and says which tests were skipped, and why.
//
// A test that a machine does not permit is skipped. On the machine that decides whether a change
// lands nothing may be missing: with -strict, a skipped test is a failure unless permitted.go has
// its reason. Everything after the flags is passed on to go test.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

func main() {
	strict := flag.Bool("strict", false, "fail if a test is skipped for a reason that is not "+
		"permitted")
	flag.Parse()
	//nolint:noctx // a signal reaches both
	cmd := exec.Command("go", append([]string{"test", "-json"}, flag.Args()...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testrun:", err)
		os.Exit(1)
	}
	r := newReport(os.Stdout)
	readErr := r.read(out)
	refused := r.skips()
	if err := errors.Join(cmd.Wait(), readErr); err != nil {
		fmt.Fprintln(os.Stderr, "testrun: go test:", err)
		os.Exit(1)
	}
	if *strict && refused > 0 {
		fmt.Fprintf(os.Stderr, "testrun: %d tests were skipped for reasons that are not "+
			"permitted here\n", refused)
		os.Exit(1)
	}
}

// event is a line of "go test -json"; see "go doc test2json".
type event struct {
	Action, Package, Test, Output string
}

// name identifies a test, or with an empty Test a package.
type name struct{ pkg, test string }

// report collects what tests print until it is known what became of them.
type report struct {
	w       io.Writer
	output  map[name][]string
	skipped []skip
}

// skip is a skipped test with all that it printed, which includes the reason.
type skip struct {
	name
	why string
}

func newReport(w io.Writer) *report { return &report{w: w, output: map[name][]string{}} }

// read prints the results of packages, and what failed tests printed.
func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.line(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) line(line []byte) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		fmt.Fprintf(r.w, "%s", line)
		return
	}
	n := name{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.w, e.Output)
	case "output":
		if e.Test == "" && e.Output == "PASS\n" {
			return // the line with the package says it
		}
		r.output[n] = append(r.output[n], e.Output)
	case "skip":
		if e.Test != "" {
			r.skipped = append(r.skipped, skip{n, reason(r.output[n])})
		} else {
			fmt.Fprint(r.w, strings.Join(r.output[n], ""))
		}
		delete(r.output, n)
	case "fail", "pass":
		if e.Action == "fail" && e.Test == "" {
			r.unfinished(e.Package)
		}
		if e.Action == "fail" || e.Test == "" {
			fmt.Fprint(r.w, strings.Join(r.output[n], ""))
		}
		delete(r.output, n)
	}
}

// unfinished prints what those tests of a package have printed that never came to a result, because
// the package failed as a whole: a time-out or a panic, whose stacks count as the output of the
// test that was running.
func (r *report) unfinished(pkg string) {
	tests := slices.Collect(maps.Keys(r.output))
	slices.SortFunc(tests, func(a, b name) int { return strings.Compare(a.test, b.test) })
	for _, n := range tests {
		if n.pkg == pkg && n.test != "" {
			fmt.Fprint(r.w, strings.Join(r.output[n], ""))
			delete(r.output, n)
		}
	}
}

var frame = regexp.MustCompile(`^\s*(=== |--- SKIP)`)

// reason returns what a test printed, without the lines that are go test's own.
func reason(output []string) string {
	var lines []string
	for _, line := range output {
		if !frame.MatchString(line) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.TrimSpace(strings.Join(lines, " "))
}

// skips prints the tests that were skipped, and returns how many were for a reason that is not
// permitted.
func (r *report) skips() (refused int) {
	slices.SortFunc(r.skipped, func(a, b skip) int {
		return strings.Compare(a.pkg+a.test, b.pkg+b.test)
	})
	for _, s := range r.skipped {
		mark := "skipped"
		if !permitted(s.why) {
			mark, refused = "SKIPPED", refused+1
		}
		fmt.Fprintf(r.w, "%s %s %s: %s\n", mark, s.pkg, s.test, s.why)
	}
	return refused
}
