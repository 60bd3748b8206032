package repofile

import (
	"cmp"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/diag"
)

// Parse reads the repositories of a .repo file, in order. name is the file's name in errors. The
// error is a [diag.List] with every mistake and its position; the entry for a repository of an
// unsupported kind wraps an [*UnsupportedError].
func Parse(name string, data []byte) ([]Repo, error) {
	s := &scanner{file: name, data: data, lines: map[string]int{}}
	if len(data) > MaxSize {
		s.findings = append(s.findings, &diag.Diagnostic{Pos: diag.Pos{File: name},
			Message: fmt.Sprintf("a .repo file may have at most %[2]d bytes, this one has %[1]d",
				len(data), MaxSize)})
		return nil, s.findings.Err()
	}
	s.scan()
	var repos []Repo
	for _, sec := range s.sections {
		if sec.name == "main" { // settings of a yum.conf, not a repository
			continue
		}
		if len(s.findings) >= maxFindings {
			break
		}
		repos = append(repos, s.repo(sec))
	}
	if err := s.findings.Err(); err != nil {
		return nil, err
	}
	return repos, nil
}

// repo converts a section to a repository.
func (s *scanner) repo(sec *section) Repo {
	r := Repo{
		Alias:       sec.name,
		Name:        cmp.Or(sec.keys["name"].text(), sec.name),
		Enabled:     s.boolean(sec, "enabled", true),
		GPGCheck:    s.boolean(sec, "gpgcheck", true),
		GPGKeys:     splitList(sec.keys["gpgkey"].text()),
		Credentials: sec.keys["credentials"].text(),
		User:        sec.keys["username"].text(),
		Password:    sec.keys["password"].text(),
		Type:        strings.ToLower(sec.keys["type"].text()),
		Pos:         sec.pos,
	}
	for _, raw := range splitList(sec.keys["baseurl"].text()) {
		u, credentials := takeParameters(raw)
		r.Credentials = cmp.Or(r.Credentials, credentials)
		r.BaseURLs = append(r.BaseURLs, u)
	}
	r.MirrorList, _ = takeParameters(sec.keys["mirrorlist"].text())
	r.Metalink, _ = takeParameters(sec.keys["metalink"].text())
	if sub := sec.keys["path"].text(); strings.Trim(sub, "/") != "" {
		for i, u := range r.BaseURLs {
			r.BaseURLs[i] = joinPath(u, sub)
		}
	}
	if len(r.BaseURLs) > 0 {
		r.BaseURL = r.BaseURLs[0]
	}
	if r.Enabled {
		s.check(sec, r)
	}
	return r
}

// check reports why an enabled repository cannot be used.
func (s *scanner) check(sec *section, r Repo) {
	pos := cmp.Or(sec.keys["baseurl"].pos, sec.pos)
	if len(r.BaseURLs) == 0 {
		pos = cmp.Or(sec.keys["metalink"].pos, sec.keys["mirrorlist"].pos, pos)
	}
	if len(r.urls()) == 0 {
		s.report(pos, fmt.Sprintf("repository %s has no baseurl, mirrorlist or metalink", r.Alias),
			"", nil)
		return
	}
	if !slices.Contains([]string{"", "none", "rpm-md", "rpm", "yum", "repomd"}, r.Type) {
		s.unsupported(sec.keys["type"].pos, r, fmt.Sprintf("type %q", r.Type),
			"only rpm-md repositories can be read")
	}
	for _, u := range r.urls() {
		if err := checkURL(r.Alias, u); err != nil {
			s.report(pos, err.Error(), "use https, http, file or a path; or disable the "+
				"repository with enabled=0", err)
			return
		}
	}
	if r.Credentials != "" {
		if err := checkName(r.Credentials); err != nil {
			s.report(pos, err.Error(), "", err)
		}
	}
}

// urls returns all URLs that the repository names.
func (r *Repo) urls() []string {
	return slices.DeleteFunc(slices.Concat(r.BaseURLs, []string{r.MirrorList, r.Metalink}),
		func(u string) bool { return u == "" })
}

func (s *scanner) unsupported(pos diag.Pos, r Repo, what, hint string) {
	err := &UnsupportedError{r.Alias, what}
	s.report(pos, err.Error(), hint, err)
}

// checkURL returns an error unless u can be fetched from. A URL that begins with a variable is
// checked again when the variable has its value.
func checkURL(alias, u string) error {
	scheme, _, found := strings.Cut(u, ":/")
	switch {
	case strings.HasPrefix(u, "$") || strings.HasPrefix(u, "/"):
		return nil
	case !found || strings.Trim(scheme, schemeRunes) != "":
		return fmt.Errorf("repository %s: %s is neither a URL nor an absolute path", alias,
			redactWords(u))
	case scheme != "http" && scheme != "https" && scheme != "file":
		return &UnsupportedError{alias, fmt.Sprintf("a %q URL", scheme)}
	}
	return nil
}

// boolean parses a key as zypper and dnf do.
func (s *scanner) boolean(sec *section, key string, byDefault bool) bool {
	v, found := sec.keys[key]
	if !found {
		return byDefault
	}
	switch strings.ToLower(v.text()) {
	case "1", "yes", "true", "on", "always":
		return true
	case "0", "no", "false", "off", "never":
		return false
	}
	s.report(v.pos, fmt.Sprintf("%s is %q: write 1 or 0", key, v.text()), "", nil)
	return byDefault
}

// splitList splits at white space, and at commas before white space or before a URL; other commas
// may be part of a URL.
func splitList(text string) []string {
	var list []string
	for word := range strings.FieldsSeq(text) {
		start := 0
		for i := range len(word) {
			if word[i] == ',' && (i+1 == len(word) || startsURL(word[i+1:])) {
				list = append(list, word[start:i])
				start = i + 1
			}
		}
		list = append(list, word[start:])
	}
	return slices.DeleteFunc(list, func(s string) bool { return s == "" })
}

// startsURL reports whether s begins with a scheme or is an absolute path. Schemes are short, so it
// need not look far.
func startsURL(s string) bool {
	scheme, _, found := strings.Cut(s[:min(len(s), 32)], ":/")
	return s[0] == '/' || found && scheme != "" && strings.Trim(scheme, schemeRunes) == ""
}

// zypperOnly are the URL parameters that zypper uses itself and does not send. Those about TLS and
// proxies have no effect here: certificates are always verified, and proxies come from the
// environment.
var zypperOnly = []string{"auth", "cookies", "credentials", "head_requests", "mediahandler",
	"proxy", "proxypass",
	"proxyport", "proxyuser", "ssl_capath", "ssl_clientcert", "ssl_clientkey", "ssl_verify",
	"timeout", "workdir"}

// takeParameters removes zypper's own parameters from a URL and returns the credentials that it
// names. The rest of the query, such as a token, stays unchanged. dir: is an older name for file:.
func takeParameters(raw string) (u, credentials string) {
	if scheme, rest, _ := strings.Cut(raw, ":"); strings.EqualFold(scheme, "dir") {
		raw = "file:" + rest
	} else if slices.Contains([]string{"http", "https", "file"}, strings.ToLower(scheme)) {
		raw = strings.ToLower(scheme) + ":" + rest
	}
	base, query, found := strings.Cut(raw, "?")
	if !found {
		return raw, ""
	}
	var kept []string
	for part := range strings.SplitSeq(query, "&") {
		name, val, _ := strings.Cut(part, "=")
		if !slices.Contains(zypperOnly, name) {
			kept = append(kept, part)
			continue
		}
		if name == "credentials" && credentials == "" {
			if plain, err := url.QueryUnescape(val); err == nil {
				val = plain
			}
			credentials = val
		}
	}
	if query = strings.Join(kept, "&"); query != "" {
		base += "?" + query
	}
	return base, credentials
}

// joinPath appends the path= of a repository to its URL, before the query.
func joinPath(u, sub string) string {
	base, query, found := strings.Cut(u, "?")
	base = strings.TrimRight(base, "/") + path.Clean("/"+sub)
	if found {
		base += "?" + query
	}
	return base
}
