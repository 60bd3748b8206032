package enginecli

import (
	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/pkg/engine"
)

// ProcessJSON is the JSON form of a process's report. Times are whole microseconds.
type ProcessJSON struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
	Exe  string `json:"exe"`
	UID  uint32 `json:"uid"`
	// it runs with other rights than those of the user who started it
	Elevated  bool         `json:"elevated"`
	Container string       `json:"container"`
	Engine    string       `json:"engine"`
	Status    string       `json:"status"` // done, would-do, unsure, already, skipped, failed
	Reason    string       `json:"reason"`
	Note      string       `json:"note,omitempty"`
	Results   []resultJSON `json:"results"`
	StopTime  int64        `json:"stop_us"`
	Late      bool         `json:"max_stop_exceeded"`
	Attempts  int          `json:"attempts"`
}

type resultJSON struct {
	Action  string `json:"action"`
	File    string `json:"file"`
	Library string `json:"library"`
	BuildID string `json:"build_id"` // of the target
	Status  string `json:"status"`
	Reason  string `json:"reason"`
}

// NewProcessJSON returns the report about a process in the form that a program reads.
func NewProcessJSON(r *engine.Report, dryRun bool) ProcessJSON {
	j := ProcessJSON{
		PID: r.PID, Name: r.Name, Exe: r.Exe, UID: r.UID, Elevated: r.Elevated, Note: r.Note,
		Container: r.Container.String(), Engine: r.Engine,
		Status: statusWord(r.Status, dryRun), Reason: console.ErrorText(r.Err),
		Results:  []resultJSON{},
		StopTime: r.Stop.Microseconds(), Attempts: r.Attempts, Late: r.Late,
	}
	for _, result := range r.Results {
		out := resultJSON{
			Action: result.Kind.String(), File: result.File, Library: result.Library,
			Status: statusWord(result.Status, dryRun), Reason: console.ErrorText(result.Err),
		}
		if c := result.Container; c != nil {
			out.BuildID = NewTargetJSON(c.Target()).BuildID
		}
		j.Results = append(j.Results, out)
	}
	return j
}

// statusWord returns the JSON form of a status.
func statusWord(s engine.Status, dryRun bool) string {
	if s == engine.Changed && dryRun {
		return "would-do"
	}
	return s.String()
}
