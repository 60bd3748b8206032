package repofile

import (
	"slices"
	"strings"
)

// Expand returns r with the variables in its name, URLs and keys replaced: $releasever,
// ${basearch}, and zypper's ${arch:-x86_64} (if it has no value) and ${arch:+x} (if it has one).
// The error is a [*VariableError] for a variable that is not in vars, or an [*UnsupportedError] for
// a URL that turns out to be of an unsupported kind.
func (r Repo) Expand(vars map[string]string) (Repo, error) {
	r.BaseURLs, r.GPGKeys = slices.Clone(r.BaseURLs), slices.Clone(r.GPGKeys)
	var err error
	replace := func(text string) string {
		expanded, unknown := expand(text, vars)
		if unknown != "" && err == nil {
			err = &VariableError{r.Alias, unknown}
		}
		return expanded
	}
	r.Name, r.MirrorList, r.Metalink = replace(r.Name), replace(r.MirrorList), replace(r.Metalink)
	for _, list := range [][]string{r.BaseURLs, r.GPGKeys} {
		for i := range list {
			list[i] = replace(list[i])
		}
	}
	for _, u := range r.urls() {
		if err == nil && r.Enabled {
			err = checkURL(r.Alias, u)
		}
	}
	if err != nil {
		return Repo{}, err
	}
	if len(r.BaseURLs) > 0 {
		r.BaseURL = r.BaseURLs[0]
	}
	return r, nil
}

// expand replaces the variables in text and returns the first that has no value. Values are not
// expanded again. A $ without a name after it is left alone.
func expand(text string, vars map[string]string) (expanded, unknown string) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		b.WriteString(before)
		if !found {
			return b.String(), unknown
		}
		name, operator, word, rest := variable(after)
		val, known := vars[name]
		switch {
		case name == "":
			b.WriteByte('$')
		case operator == ":-" && val == "", operator == ":+" && val != "":
			b.WriteString(word)
		case operator == ":+":
		case !known && unknown == "":
			unknown = name
		default:
			b.WriteString(val)
		}
		text = rest
	}
}

// variable parses the text after a $: name, {name}, {name:-word} or {name:+word}. Without a name,
// rest is all of text.
func variable(text string) (name, operator, word, rest string) {
	inner, braced := strings.CutPrefix(text, "{")
	end := strings.IndexFunc(inner, func(r rune) bool {
		return r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	})
	if end < 0 {
		end = len(inner)
	}
	name, rest = inner[:end], inner[end:]
	if !braced {
		return name, "", "", rest
	}
	body, rest, closed := strings.Cut(rest, "}")
	if len(body) >= 2 && (body[:2] == ":-" || body[:2] == ":+") {
		operator, word = body[:2], body[2:]
	} else if body != "" {
		closed = false
	}
	if name == "" || !closed {
		return "", "", "", text
	}
	return name, operator, word, rest
}
