package obs

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/internal/buildservice"
	"github.com/lpbuild/lpbuild/internal/shellword"
)

func TestArgs(t *testing.T) {
	c := &Checkout{Project: "home:jane", Package: "lp"}
	for name, tc := range map[string]struct {
		request Request
		want    string
	}{
		"where it was branched from": {Request{Message: "- Fix it"},
			`osc maintenancerequest '--message=- Fix it' .`},
		"everything": {
			Request{Message: "it's\nnew", ReleaseProject: "V:Update", Incident: "7",
				IncidentProject: "V:Maintenance", Supersede: "3", NoCleanup: true},
			`osc maintenancerequest --incident-project=V:Maintenance --incident=7 --supersede=3 ` +
				`--no-cleanup '--message=it'\''s` + "\n" + `new' home:jane lp V:Update`,
		},
	} {
		args, err := c.Args(tc.request)
		if got := shellword.Join(append([]string{"osc"}, args...)...); err != nil ||
			got != tc.want {
			t.Errorf("%s: %v\n%s, want\n%s", name, err, got, tc.want)
		}
	}
	for name, r := range map[string]Request{
		"no message": {Message: " \n"}, "an option for a project": {Message: "x",
			ReleaseProject: "--yes"}, "a path": {Message: "x", Incident: "../1"},
		"a NUL": {Message: "a\x00b"}, "two words": {Message: "x", IncidentProject: "a b"},
	} {
		if args, err := c.Args(r); err == nil {
			t.Errorf("%s: %q", name, args)
		}
	}
}

// TestSubmit makes a request with the real osc and examines what arrives.
func TestSubmit(t *testing.T) {
	w := newWorld(t, map[string]string{"lp.spec": "old"})
	c := w.checkout()
	if _, err := c.Update(t.Context(), w.source(0, 0), Options{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(t.Context(), w.dist, Options{}); !errors.Is(err, ErrNotReady) ||
		!strings.Contains(err.Error(), "osc commit") {
		t.Errorf("not committed: %v", err)
	}
	w.osc(c.Dir, "commit", "-m", "update")
	if err := c.Check(t.Context(), w.dist, Options{}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	number, err := c.Submit(t.Context(),
		Request{Message: "- Fix <it>", ReleaseProject: "Vendor:Update"}, Options{}, nil, &out)
	if err != nil || number != "4711" {
		t.Fatalf("request %q, %v\n%s", number, err, &out)
	}
	requests := w.service.Requests()
	if len(requests) != 1 {
		t.Fatalf("%d requests", len(requests))
	}
	for _, want := range []string{
		`type="maintenance_incident"`, `project="home:jane"`, `package="lp"`,
		`project="Vendor:Maintenance"`, `releaseproject="Vendor:Update"`, "Fix",
	} {
		if !strings.Contains(requests[0], want) {
			t.Errorf("the request lacks %s:\n%s", want, requests[0])
		}
	}
	if strings.Contains(out.String(), buildservice.Password) {
		t.Errorf("the request contains the password:\n%s", &out)
	}
	w.write(w.dist.Spec, "newer")
	if err := c.Check(t.Context(), w.dist, Options{}); !errors.Is(err, ErrNotReady) ||
		!strings.Contains(err.Error(), "lpbuild dist --obs") {
		t.Errorf("dist is newer: %v", err)
	}
}

// TestSubmitOutdated rejects a checkout after somebody else has committed: their files would be
// submitted.
func TestSubmitOutdated(t *testing.T) {
	for name, change := range map[string]func(files map[string]string){
		"changed": func(files map[string]string) { files["lp.spec"] = "theirs" },
		"removed": func(files map[string]string) { delete(files, "lp-2.tar.xz") },
	} {
		w := newWorld(t, map[string]string{"lp.spec": "old"})
		c := w.checkout()
		if _, err := c.Update(t.Context(), w.source(0, 0), Options{}); err != nil {
			t.Fatal(err)
		}
		w.osc(c.Dir, "commit", "-m", "update")
		files := w.service.Files("home:jane", "lp")
		files["README"] = "a file that is not ours"
		w.service.Put("home:jane", "lp", files)
		if err := c.Check(t.Context(), w.dist, Options{}); err != nil {
			t.Errorf("%s: a file of others: %v", name, err)
		}
		change(files)
		w.service.Put("home:jane", "lp", files)
		if err := c.Check(t.Context(), w.dist, Options{}); !errors.Is(err, ErrNotReady) ||
			!strings.Contains(err.Error(), "osc update") {
			t.Errorf("%s: error is %v, want ErrNotReady with a hint", name, err)
		}
	}
}

// TestSubmitFails has a service that is gone, and no osc.
func TestSubmitFails(t *testing.T) {
	w := newWorld(t, map[string]string{"lp.spec": "old"})
	c := w.checkout()
	w.service.Close()
	_, err := c.Submit(t.Context(), Request{Message: "x", ReleaseProject: "V"}, Options{}, nil,
		&bytes.Buffer{})
	if !errors.Is(err, ErrOsc) || strings.Contains(err.Error(), buildservice.Password) {
		t.Errorf("error is %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := c.Submit(t.Context(), Request{Message: "x"}, Options{}, nil,
		&bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "not installed") {
		t.Errorf("error is %v", err)
	}
	w.write(filepath.Join(c.Dir, "lp.spec"), "x")
	if err := c.Check(t.Context(), w.dist, Options{}); !errors.Is(err, ErrNotReady) {
		t.Errorf("error is %v", err)
	}
	os.Remove(w.dist.Spec)
	if err := c.Check(t.Context(), w.dist, Options{}); !errors.Is(err, ErrNotReady) {
		t.Errorf("error is %v", err)
	}
}

func TestWithoutSecrets(t *testing.T) {
	for text, want := range map[string]string{
		"fine":                                "fine",
		"http://jane:pw@host/x":               "http://jane:[hidden]host/x",
		"pass = a b c":                        "pass = [hidden]",
		"Authorization: Basic c2VjcmV0\nnext": "Authorization: [hidden]\nnext",
	} {
		if d := cmp.Diff(want, withoutSecrets(text)); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
}
