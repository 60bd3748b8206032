package hook

import "github.com/lpbuild/lpbuild/pkg/engine"

// Manual keeps a log of what a person does by hand, where the log of scriptlets is. The zero value is not ready for use.
type Manual struct {
	title   string
	outcome Outcome
}

// NewManual returns the log of one run. title is what was asked for, such as the command line.
func NewManual(title string, revert bool) *Manual {
	return &Manual{title: printable(title), outcome: Outcome{revert: revert}}
}

// Add takes in a process. One that is skipped because no live patch is for it leaves no line. It may be called from several
// goroutines.
func (m *Manual) Add(rep *engine.Report) {
	if rep.Status != engine.Skipped || rep.Left {
		m.outcome.add(rep)
	}
}

// Write writes the log below root: into the journal or, where there is none, into the file, which only root can write. A run that
// changed nothing and failed nowhere leaves no word. The error says why the log could not be kept.
func (m *Manual) Write(root string, s engine.Summary) error {
	if s.Changed == 0 && s.Failed == 0 {
		return nil
	}
	m.outcome.Summary = s
	return (&Request{Root: root}).keepLog("manual "+m.title, &m.outcome)
}
