package gate

import (
	"fmt"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// unloadable returns the reasons that lie in the container alone.
func unloadable(c *ulp.Container) []Reason {
	var reasons []Reason
	refuse := func(is bool, code, message, hint string) {
		if is {
			reasons = append(reasons, Reason{Code: code, Message: "the container " + message,
				Hint: hint})
		}
	}
	refuse(c.TextRelocations, "text-relocations", "has text relocations: its code would have to "+
		"be writable to be loaded",
		"compile every source with -fPIC; in assembly, address through the GOT")
	refuse(c.ExecStack, "executable-stack", "asks for an executable stack, which it would force "+
		"upon every process",
		"add \".section .note.GNU-stack,\\\"\\\",@progbits\" to assembly sources; do not take "+
			"addresses of nested functions")
	refuse(c.SONAME != "", "soname", fmt.Sprintf("has the SONAME %s: RPM would provide that "+
		"instead of the container's own name", c.SONAME),
		"leave -Wl,-soname out of \"cflags\"")
	refuse(c.RunPath, "run-path", "has an RPATH or RUNPATH: it would bring libraries of its own "+
		"into every process",
		"leave -Wl,-rpath out of \"cflags\"")
	refuse(c.NoDlopen, "no-dlopen", "forbids to be loaded into a running process (DF_1_NODLOPEN)",
		"leave -Wl,-z,nodlopen out of \"cflags\"")
	return reasons
}
