package buildmatrix

import (
	"errors"
	"fmt"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// gate returns every reason why a container cannot work in its build, whichever engine is to apply
// it. No reason: everything that the catalogue can tell says that one will; see fit. accepted is
// what would be one if the patch did not accept it.
func gate(j *job, s *scope) (reasons, accepted []Reason) {
	c := j.object.Container
	reasons = reasonsOf(ulp.Check(j.description, c, s.target, j.entries))
	if j.Patch.Clones != "" {
		isClone := func(r Reason) bool { return r.Code == codeOf(ulp.ErrClone) }
		accepted = acceptedAs(j.Patch.Clones, slices.DeleteFunc(slices.Clone(reasons),
			func(r Reason) bool { return !isClone(r) }))
		reasons = slices.DeleteFunc(reasons, isClone)
	}
	reasons = append(reasons, j.optimisedAway()...)
	reasons = append(reasons, unloadable(c)...)
	reasons = append(reasons, s.strangers(c)...)
	return append(reasons, s.missing(c)...), accepted
}

// Accepted stands in a note between a finding and the reason for which the patch accepts it.
const Accepted = "; accepted: "

// acceptedAs returns notes of what would be reasons if the patch did not say why it accepts them.
func acceptedAs(why string, reasons []Reason) []Reason {
	notes := make([]Reason, len(reasons))
	for i, r := range reasons {
		notes[i] = Reason{Code: r.Code, Where: r.Where, Message: r.Message + Accepted + why}
	}
	return notes
}

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

// reasonsOf turns an error of package ulp into reasons.
func reasonsOf(err error) []Reason {
	if err == nil {
		return nil
	}
	var list diag.List
	if !errors.As(err, &list) {
		return []Reason{{Code: codeOf(err), Message: err.Error(), Shown: diag.Render(err, false)}}
	}
	reasons := make([]Reason, len(list))
	for i, d := range list {
		reasons[i] = reasonAt(codeOf(d), d)
	}
	return reasons
}

// reasonAt makes a reason of a finding.
func reasonAt(code string, d *diag.Diagnostic) Reason {
	return Reason{Code: code, Where: d.String(), Message: d.Message, Hint: d.Hint,
		Shown: d.Render(false)}
}
