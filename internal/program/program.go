// Package program knows which of our programs runs: its name, and what it was built from.
package program

import (
	"fmt"
	"runtime/debug"
	"strings"
)

// name is what the program is called in its messages.
var name = "lpbuild"

// SetName is for a main package: help and messages then name the commands of the program that runs.
func SetName(n string) { name = n }

// Name returns the name of the program.
func Name() string { return name }

// shared are the commands that all programs have.
var shared = []string{"trigger", "revert", "status", "hook", "ulp", "version", "help", "completion"}

// Text returns a text in which the commands that all programs have are those of the program that
// runs: "lpbuild status" is "lpbuild-engine status" there.
func Text(text string) string { return TextOf(name, text) }

// TextOf is [Text] for the program of that name.
func TextOf(name, text string) string {
	for _, command := range shared {
		text = strings.ReplaceAll(text, "lpbuild "+command, name+" "+command)
	}
	return text
}

// version and commit are set by the linker:
// -X github.com/lpbuild/lpbuild/internal/program.version=1.2
var version, commit string

// Version returns the version of the program, "devel" if it is not known.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" &&
		info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// Info returns the version, and commit and go where they are known.
func Info() map[string]string {
	v := map[string]string{"version": Version()}
	info, ok := debug.ReadBuildInfo()
	if ok {
		v["go"] = info.GoVersion
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				v["commit"] = setting.Value
			}
		}
	}
	if commit != "" {
		v["commit"] = commit
	}
	return v
}

// Line returns name, version and commit for a person.
func Line() string {
	v := Info()
	line := name + " " + v["version"]
	if v["commit"] != "" {
		line += fmt.Sprintf(" (commit %.12s)", v["commit"])
	}
	return line
}
