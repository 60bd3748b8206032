package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Set by the linker where a package is built: the sources that it has are no repository.
var version, commit string

// toolVersion is what this program calls itself.
func toolVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

// versionInfo is what is known of this program: version, commit and the compiler.
func versionInfo() map[string]string {
	v := map[string]string{"version": toolVersion()}
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

// versionLine is what is known of this program, for a person.
func versionLine() string {
	v := versionInfo()
	line := "lpbuild " + v["version"]
	if v["commit"] != "" {
		line += fmt.Sprintf(" (commit %.12s)", v["commit"])
	}
	return line
}

func newVersion(s *console) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print version and commit", Args: noArguments,
		Long:    "Prints the version and, if known, the commit that the program was built from." + exits(nil, exitError),
		Example: "  lpbuild version\n  lpbuild version --json",
		RunE: func(*cobra.Command, []string) error {
			if s.json {
				return s.printJSON(versionInfo())
			}
			s.print("%s\n", versionLine())
			return nil
		},
	}
}
