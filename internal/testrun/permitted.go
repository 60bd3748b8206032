package main

import "regexp"

// reasons are those for which a test may be skipped on the machine that decides whether a change
// lands: another target of the Makefile runs it, or there is nothing to run.
var reasons = []*regexp.Regexp{
	regexp.MustCompile(`run "make test-(glibc|real|decode|chromium|overcommit)"`), // .ci/run does
	regexp.MustCompile("`make test-decode` runs it"),
	// with a distribution's own libpulp, which is optional
	regexp.MustCompile(`LPBUILD_LIBPULP does not name a libpulp\.so`),
	// completions for shells that no target installs
	regexp.MustCompile(`no (zsh|fish) here: its users have it`),
	regexp.MustCompile(`always has a small window|lzma has a single stream`),
}

func permitted(why string) bool {
	for _, r := range reasons {
		if r.MatchString(why) {
			return true
		}
	}
	return false
}
