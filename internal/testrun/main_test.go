package main

import (
	"strings"
	"testing"
)

// TestReport reads what go test prints for tests that pass, fail, and are skipped for two reasons.
func TestReport(t *testing.T) {
	const in = `{"Action":"run","Package":"a/b","Test":"TestOne"}
{"Action":"output","Package":"a/b","Test":"TestOne","Output":"=== RUN   TestOne\n"}
{"Action":"output","Package":"a/b","Test":"TestOne","Output":"    one_test.go:1: needs CAP_SYS_ADMIN: operation not permitted\n"}
{"Action":"output","Package":"a/b","Test":"TestOne","Output":"--- SKIP: TestOne (0.00s)\n"}
{"Action":"skip","Package":"a/b","Test":"TestOne"}
{"Action":"output","Package":"a/b","Test":"TestReal","Output":"    real_test.go:1: patches nginx: run \"make test-real\"\n"}
{"Action":"skip","Package":"a/b","Test":"TestReal"}
{"Action":"output","Package":"a/b","Test":"TestGood","Output":"    good_test.go:1: quiet\n"}
{"Action":"pass","Package":"a/b","Test":"TestGood"}
{"Action":"output","Package":"a/b","Test":"TestBad","Output":"    bad_test.go:1: loud\n"}
{"Action":"fail","Package":"a/b","Test":"TestBad"}
{"Action":"output","Package":"a/b","Test":"TestHangs","Output":"panic: test timed out after 10m0s\n"}
{"Action":"output","Package":"a/c","Test":"TestOther","Output":"    other_test.go:1: another package goes on\n"}
{"Action":"output","Package":"a/b","Output":"FAIL\ta/b\t0.1s\n"}
{"Action":"fail","Package":"a/b"}
no JSON at all
`
	var out strings.Builder
	r := newReport(&out)
	if err := r.read(strings.NewReader(in)); err != nil {
		t.Fatal(err)
	}
	if n := r.skips(); n != 1 {
		t.Errorf("%d skipped tests are refused, want 1", n)
	}
	want := `    bad_test.go:1: loud
panic: test timed out after 10m0s
FAIL	a/b	0.1s
no JSON at all
SKIPPED a/b TestOne: one_test.go:1: needs CAP_SYS_ADMIN: operation not permitted
skipped a/b TestReal: real_test.go:1: patches nginx: run "make test-real"
`
	if out.String() != want {
		t.Errorf("it prints\n%swant\n%s", out.String(), want)
	}
}
