package hook

import "github.com/lpbuild/lpbuild/pkg/engine"

// Manual logs what an administrator does by hand, in the place where scriptlets log. Use NewManual
// to make one.
type Manual struct {
	title   string
	outcome Outcome
}

// NewManual returns the log of one run. title describes it, such as the command line.
func NewManual(title string, revert bool) *Manual {
	return &Manual{title: printable(title), outcome: Outcome{revert: revert}}
}

// Add adds a process. One that is skipped because no live patch is for it leaves no line. Add may
// be called from several goroutines.
func (m *Manual) Add(rep *engine.Report) {
	if rep.Status != engine.Skipped || rep.Left {
		m.outcome.add(rep)
	}
}

// Write writes the log below root: to the journal or, where there is none, to the file, which only
// root can write to. A run that changed nothing and had no failures leaves no trace. The error says
// why the log could not be kept.
func (m *Manual) Write(root string, s engine.Summary) error {
	if s.Changed == 0 && s.Failed == 0 {
		return nil
	}
	m.outcome.Summary = s
	return (&Request{Root: root}).keepLog("manual "+m.title, &m.outcome)
}
