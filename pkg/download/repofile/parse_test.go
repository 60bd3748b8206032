package repofile_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/download/repofile"
)

// As `zypper addrepo` writes it.
const zypper = `[repo-update]
name=Update repository of $releasever
enabled=1
autorefresh=1
baseurl=https://download.example.org/update/leap/$releasever/sle
path=/
type=rpm-md
keeppackages=0
`

// As SUSEConnect leaves it, with a service's alias.
const scc = `[SUSE_Linux_Enterprise_Server_x86_64:SLES15-SP5-Updates]
name=SLES15-SP5-Updates
enabled=1
autorefresh=1
baseurl=https://updates.example.com/SUSE/Updates/SLES/15-SP5/x86_64/update/?exp=17~acl=/SUSE/*~hmac=0a1b&credentials=SUSEConnect&ssl_verify=no
service=SUSE_Linux_Enterprise_Server_x86_64
`

// As Fedora's package writes it.
const fedora = "\xef\xbb\xbf# comment\r\n; " +
	"comment\r\n[main]\r\ncachedir=/var\r\n\r\n[updates]\r\nname = Updates\r\n" +
	"  for $basearch\r\nbaseurl = " +
	"http://one.example.com/$releasever/,\r\n\thttp://two.example.com/a,b/ " +
	",http://three.example.com/\r\n" +
	"GPGKEY=file:///etc/pki/one file:///etc/pki/two\r\ngpgcheck=no\r\nusername=me\r\npassword=a " +
	"= b # c\r\n"

func TestParse(t *testing.T) {
	tests := map[string]struct {
		text string
		want []repofile.Repo
	}{
		"empty": {"", nil},
		"zypper": {zypper, []repofile.Repo{{
			Alias: "repo-update", Name: "Update repository of $releasever", Enabled: true,
			GPGCheck: true, Type: "rpm-md",
			BaseURLs: []string{"https://download.example.org/update/leap/$releasever/sle"},
		}}},
		"SUSE Customer Center": {scc, []repofile.Repo{{
			Alias: "SUSE_Linux_Enterprise_Server_x86_64:SLES15-SP5-Updates",
			Name:  "SLES15-SP5-Updates", Enabled: true,
			GPGCheck: true, Credentials: "SUSEConnect",
			BaseURLs: []string{
				"https://updates.example.com/SUSE/Updates/SLES/15-SP5/x86_64/update/?" +
					"exp=17~acl=/SUSE/*~hmac=0a1b"},
		}}},
		"dnf": {fedora, []repofile.Repo{{
			Alias: "updates", Name: "Updates for $basearch", Enabled: true, User: "me",
			Password: "a = b # c",
			BaseURLs: []string{"http://one.example.com/$releasever/", "http://two.example.com/a,b/",
				"http://three.example.com/"},
			GPGKeys: []string{"file:///etc/pki/one", "file:///etc/pki/two"},
		}}},
		"path and token": {"[a]\nbaseurl=https://h/r/?t\npath=/sub//dir/\n", []repofile.Repo{{
			Alias: "a", Name: "a", Enabled: true, GPGCheck: true,
			BaseURLs: []string{"https://h/r/sub/dir?t"},
		}}},
		"credentials only": {"[a]\nbaseurl=https://h/r?credentials=My%20Repo\n", []repofile.Repo{{
			Alias: "a", Name: "a", Enabled: true, GPGCheck: true, Credentials: "My Repo",
			BaseURLs: []string{"https://h/r"},
		}}},
		"local": {"[a]\nbaseurl=dir:///srv/repo\n[b]\nbaseurl=FILE:/srv\n[c]\nbaseurl=/srv/c\n",
			[]repofile.Repo{
				{Alias: "a", Name: "a", Enabled: true, GPGCheck: true,
					BaseURLs: []string{"file:///srv/repo"}},
				{Alias: "b", Name: "b", Enabled: true, GPGCheck: true,
					BaseURLs: []string{"file:/srv"}},
				{Alias: "c", Name: "c", Enabled: true, GPGCheck: true,
					BaseURLs: []string{"/srv/c"}},
			}},
		"disabled, of an unknown type": {"[a]\nenabled=0\n[b]\nenabled=off\nbaseurl=plugin:/x?y\n" +
			"type=yast2\n", []repofile.Repo{
			{Alias: "a", Name: "a", GPGCheck: true},
			{Alias: "b", Name: "b", GPGCheck: true, Type: "yast2",
				BaseURLs: []string{"plugin:/x?y"}},
		}},
		"indented as a whole": {"  [a]\n  name=x\n  baseurl=/a\n  type=rpm-md\n", []repofile.Repo{
			{Alias: "a", Name: "x", Enabled: true, GPGCheck: true, Type: "rpm-md",
				BaseURLs: []string{"/a"}},
		}},
		"the last value of a key counts": {"[a]\nbaseurl=/a\nbaseurl=/b\n", []repofile.Repo{
			{Alias: "a", Name: "a", Enabled: true, GPGCheck: true, BaseURLs: []string{"/b"}},
		}},
		"URL in a variable": {"[a]\nbaseurl=$mirror/x\n", []repofile.Repo{
			{Alias: "a", Name: "a", Enabled: true, GPGCheck: true, BaseURLs: []string{"$mirror/x"}},
		}},
		"mirrors beside a URL": {"[a]\nmetalink=https://h/m\nbaseurl=/a\n", []repofile.Repo{
			{Alias: "a", Name: "a", Enabled: true, GPGCheck: true, Metalink: "https://h/m",
				BaseURLs: []string{"/a"}},
		}},
		"mirrors alone": {"[a]\nmirrorlist=https://h/m?repo=a&timeout=3\n[b]\nmetalink=https://h/n",
			[]repofile.Repo{
				{Alias: "a", Name: "a", Enabled: true, GPGCheck: true,
					MirrorList: "https://h/m?repo=a"},
				{Alias: "b", Name: "b", Enabled: true, GPGCheck: true, Metalink: "https://h/n"},
			}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := repofile.Parse("x.repo", []byte(tc.text))
			if err != nil {
				t.Fatal(err)
			}
			for i := range tc.want {
				if len(tc.want[i].BaseURLs) > 0 {
					tc.want[i].BaseURL = tc.want[i].BaseURLs[0]
				}
			}
			if d := compare(tc.want, got); d != "" {
				t.Errorf("Parse (-want +got):\n%s", d)
			}
		})
	}
}

// compare compares the fields of repositories, which their String method would hide.
func compare(want, got []repofile.Repo) string {
	type plain repofile.Repo
	show := cmp.Transformer("fields", func(r repofile.Repo) plain { return plain(r) })
	return cmp.Diff(want, got, show, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(plain{}, "Pos"))
}

func TestParsePosition(t *testing.T) {
	repos, err := repofile.Parse("x.repo",
		[]byte("\n# first\n[a]\nbaseurl=/a\n  [b]\nbaseurl=/b\n"))
	if err != nil || repos[0].Pos != (diag.Pos{File: "x.repo", Line: 3, Column: 1}) ||
		repos[1].Pos.Column != 3 {
		t.Errorf("%+v, %v", repos, err)
	}
}

func TestParseErrors(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"key before section": {"name=x\n", "x.repo:1:1: error: this key is before the first " +
			"[section]"},
		"no key": {"[a]\nbaseurl=/a\nnonsense\n", "x.repo:3:1: error: neither a [section], nor " +
			"key=value, nor a comment"},
		"section not closed": {"[a\n", "x.repo:1:1: error: a section header is [alias]"},
		"section with more": {"[a] b\nbaseurl=/a\n", "x.repo:1:1: error: a section header is " +
			"[alias]"},
		"section without alias": {"[ ]\nbaseurl=/a\n", "x.repo:1:1: error: a section header is " +
			"[alias]"},
		"twice": {"[a]\nbaseurl=/a\n[a]\nbaseurl=/a\n",
			`x.repo:3:1: error: repository "a" occurs twice, first in line 1`},
		"boolean": {"[a]\nbaseurl=/a\nenabled=perhaps\n",
			`x.repo:3:1: error: enabled is "perhaps": write 1 or 0`},
		"no URL": {"[a]\nname=a\n", "x.repo:1:1: error: repository a has no baseurl"},
		"relative": {"[a]\nbaseurl=srv/repo\n", "x.repo:2:1: error: repository a: srv/repo is " +
			"neither a URL nor an absolute path"},
		"no scheme": {"[a]\nbaseurl=user:s3cret@host/r\n",
			"x.repo:2:1: error: repository a: *** is neither a URL nor an absolute path"},
		"credentials elsewhere": {"[a]\nbaseurl=/a\ncredentials=/etc/shadow\n",
			`x.repo:2:1: error: credentials file "/etc/shadow": give its name without a directory`},
		"NUL":       {"[a]\nname=\x00\n", "x.repo:2:1: error: this line is not valid UTF-8"},
		"not UTF-8": {"[a]\nname=\xff\n", "x.repo:2:1: error: this line is not valid UTF-8"},
		"too large": {strings.Repeat("#", repofile.MaxSize+1),
			"x.repo: error: a .repo file may have at most 1048576 bytes, this one has 1048577"},
		"second of two": {"[a]\nbaseurl=ftp://h/\n[b]\nbaseurl=x\n",
			"x.repo:4:1: error: repository b"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			repos, err := repofile.Parse("x.repo", []byte(tc.text))
			if err == nil || repos != nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("Parse = %v, %v; want %q", repos, err, tc.want)
			}
			if text := diag.Render(err, false); strings.Contains(text, "s3cret") {
				t.Errorf("shows a secret:\n%s", text)
			}
		})
	}
}

func TestParseUnsupported(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"plugin": {"[a]\nbaseurl=plugin:/susecloud?credentials=x&path=/p\n",
			`repository a: a "plugin" URL is not supported`},
		"ftp":        {"[a]\nbaseurl=ftp://h/x\n", `repository a: a "ftp" URL is not supported`},
		"mirrorlist": {"[a]\nmirrorlist=ftp://h/m\n", `repository a: a "ftp" URL is not supported`},
		"type": {"[a]\nbaseurl=/a\ntype=YaST2\n",
			`repository a: type "yast2" is not supported`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			repos, err := repofile.Parse("x.repo", []byte(tc.text))
			ue, ok := errors.AsType[*repofile.UnsupportedError](err)
			if !ok || repos != nil || ue.Alias != "a" || ue.Error() != tc.want {
				t.Errorf("Parse = %v, %v; want %s", repos, err, tc.want)
			}
		})
	}
}

// A file that has only mistakes is rejected early, and so is one made to take long.
func TestParseBounds(t *testing.T) {
	for name, text := range map[string]string{
		"mistakes":      strings.Repeat("x\n", repofile.MaxSize/2),
		"repositories":  manySections(),
		"one long list": "[a]\nenabled=0\nbaseurl=" + strings.Repeat(",", repofile.MaxSize-100),
		"one long key": "[a]\nenabled=0\nbaseurl=\n" + strings.Repeat(" x\n",
			repofile.MaxSize/3-100),
		"one long line": "[a]\n" + strings.Repeat("@", repofile.MaxSize-100),
	} {
		t.Run(name, func(t *testing.T) {
			repos, err := repofile.Parse("x.repo", []byte(text))
			if list, ok := errors.AsType[diag.List](err); ok && len(list) > 20 {
				t.Errorf("%d findings", len(list))
			}
			if (err == nil) == (repos == nil) {
				t.Errorf("%d repositories, error %v", len(repos), err)
			}
		})
	}
}

func manySections() string {
	var b strings.Builder
	for i := range repofile.MaxSize / 20 {
		fmt.Fprintf(&b, "[%d]\nenabled=0\n", i)
	}
	return b.String()
}

// A line in a message hides its secrets, and the caret stays at the mistake.
func TestErrorsHideSecrets(t *testing.T) {
	for _, text := range []string{
		"[a]\nbaseurl=ftp://user:s3cret@host/p?s3cret\n",
		"[a]\nbaseurl=plugin:/cloud?s3cret\n",
		"[a]\nbaseurl=https://h/?a=s3cret x/y?s3cret\n",
		"[a]\nbaseurl=/a\nhttps://user:s3cret@host/p?s3cret\n",
		"[a]\nbaseurl=/a\npassword=s3cret\x00\n",
		"[a]\nbaseurl=user:s3cret@host/p\n",
		"[a]\nbaseurl=/a\n\tuser:s3cret@host/p\n",
		"[a]\nbaseurl=/a\nhttps://host/x?a=1&s3cret=2 t\xff\n",
	} {
		_, err := repofile.Parse("x.repo", []byte(text))
		if err == nil {
			t.Errorf("%q: no error", text)
			continue
		}
		if shown := diag.Render(err, false) + err.Error(); strings.Contains(shown, "s3cret") {
			t.Errorf("%q shows its secret:\n%s", text, shown)
		}
	}
	_, err := repofile.Parse("x.repo", []byte("[a]\nbaseurl=ftp://user:s3cret@host/p?s3cret\n"))
	want := "x.repo:2:1: error: repository a: a \"ftp\" URL is not supported\n" +
		"    baseurl=ftp://***@host/p?***\n    ^\n" +
		"  hint: use https, http, file or a path; or disable the repository with enabled=0\n"
	if d := cmp.Diff(want, diag.Render(err, false)); d != "" {
		t.Errorf("rendered (-want +got):\n%s", d)
	}
}

func TestRepoHidesSecrets(t *testing.T) {
	repos, err := repofile.Parse("x.repo",
		[]byte("[a]\nbaseurl=https://u:s3cret@h/r?s3cret\nusername=u\npassword=s3cret\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(verb, repos) + fmt.Sprintf(verb, &repos[0]); strings.Contains(text,
			"s3cret") {
			t.Errorf("%s shows %s", verb, text)
		}
	}
	if got := repos[0].String(); got != "a (https://***@h/r?***)" {
		t.Errorf("String() = %s", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{zypper, scc, fedora, "[a]\nbaseurl=plugin:/x\n", "[a\n=\n",
		"[a]\nbaseurl=${x:-https://h}/y\n",
		"[a]\nbaseurl=a@b?c ,,/x,http:/\n\x00"} {
		f.Add([]byte(text))
	}
	vars := map[string]string{"releasever": "15.5", "basearch": "x86_64", "arch": "x86_64"}
	f.Fuzz(func(t *testing.T, data []byte) {
		repos, err := repofile.Parse("x.repo", data)
		if err != nil {
			if repos != nil {
				t.Fatalf("%v beside %v", repos, err)
			}
			diag.Render(err, true)
			return
		}
		for _, r := range repos {
			if r.Alias == "" || r.Enabled && (r.BaseURL == "" || r.BaseURL != r.BaseURLs[0]) {
				t.Fatalf("incomplete: %#v", r)
			}
			if expanded, err := r.Expand(vars); err != nil && expanded.Alias != "" {
				t.Fatalf("%v beside %v", expanded, err)
			}
		}
	})
}
