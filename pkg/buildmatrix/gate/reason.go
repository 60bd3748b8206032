package gate

import (
	"errors"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// Reason is one finding of the gate: why there is no container, or a note about one.
type Reason struct {
	Code string `json:"code"` // stable word for programs: "not-patchable"
	// file:line:column in the description or the compiler's input
	Where   string `json:"where,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Shown   string `json:"-"` // with source line and caret, for a person
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

// ReasonsOf turns an error of package ulp into reasons.
func ReasonsOf(err error) []Reason {
	if err == nil {
		return nil
	}
	var list diag.List
	if !errors.As(err, &list) {
		return []Reason{{Code: codeOf(err), Message: err.Error(), Shown: diag.Render(err, false)}}
	}
	reasons := make([]Reason, len(list))
	for i, d := range list {
		reasons[i] = ReasonAt(codeOf(d), d)
	}
	return reasons
}

// ReasonAt makes a reason of a finding.
func ReasonAt(code string, d *diag.Diagnostic) Reason {
	return Reason{Code: code, Where: d.String(), Message: d.Message, Hint: d.Hint,
		Shown: d.Render(false)}
}

// At returns a finding about a name of a description, whose text is template.
func At(template []byte, n ulp.Name, message, hint string) *diag.Diagnostic {
	return &diag.Diagnostic{
		Pos: n.Pos, Length: len(n.Text), Source: diag.Line(template, n.Pos.Line),
		Message: message, Hint: hint,
	}
}
