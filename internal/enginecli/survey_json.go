package enginecli

import (
	"encoding/hex"
	"fmt"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// SurveyJSON is the JSON form of a survey of a process.
type SurveyJSON struct {
	PID       int    `json:"pid"`
	Name      string `json:"name"`
	Exe       string `json:"exe"`
	UID       uint32 `json:"uid"`
	Container string `json:"container"`
	Engine    string `json:"engine"`
	Version   string `json:"engine_version"`
	Enabled   bool   `json:"enabled"`
	Reason    string `json:"disabled_because"`
	// only a stop would show whether it can be changed
	Unsure string `json:"unsure_because"`
	// it takes live patches with "entries: any" only
	Stock     bool          `json:"entries_any"`
	Libraries []libraryJSON `json:"libraries"`
	// live patches of libraries that are not there any more
	Elsewhere []appliedJSON `json:"unloaded_libraries"`
	// not in use, and still in memory: see engine.Survey.Kept
	Kept      []appliedJSON `json:"kept"`
	Left      int           `json:"leftover_mappings"`
	LeftSize  uint64        `json:"leftover_bytes"`
	Probes    []probeJSON   `json:"probes"`
	ProbesErr string        `json:"probes_unknown"` // why it is not known which there are
	Error     string        `json:"error"`
}

type probeJSON struct {
	Library  string `json:"library"`
	Function string `json:"function"`
	Addr     string `json:"address"`
	Event    string `json:"event"` // of tracefs
	Set      bool   `json:"set"`   // in the process's memory, and not only defined
}

type libraryJSON struct {
	Name    string        `json:"name"`
	Path    string        `json:"path"`
	BuildID string        `json:"build_id"`
	Applied []appliedJSON `json:"applied"`
}

type appliedJSON struct {
	PatchID   string   `json:"patch_id"`
	Library   string   `json:"library"`
	BuildID   string   `json:"build_id"` // of the library; "" if the engine does not know it
	Container string   `json:"container"`
	Time      string   `json:"time"` // RFC 3339; "" if it is not known
	Functions int      `json:"functions"`
	Engine    string   `json:"engine"` // by which it was applied
	Labels    []string `json:"labels"`
}

// NewSurveyJSON returns a survey in the form that a program reads.
func NewSurveyJSON(s *engine.Survey) SurveyJSON {
	j := SurveyJSON{
		PID: s.PID, Name: s.Name, Exe: s.Exe, UID: s.UID, Container: s.Container.String(),
		Engine: s.Engine, Version: s.Version,
		Enabled: s.Engine != "" && s.Disabled == nil && s.Unsure == nil && !s.Bare(),
		Reason:  console.ErrorText(s.Disabled), Error: console.ErrorText(s.Err),
		Unsure: console.ErrorText(s.Unsure), Stock: s.Stock, Left: s.Left.Mappings,
		LeftSize:  s.Left.Size,
		Libraries: []libraryJSON{}, Elsewhere: newAppliedJSON(s.Elsewhere),
		Kept: newAppliedJSON(s.Kept), Probes: []probeJSON{},
		ProbesErr: console.ErrorText(s.ProbesErr),
	}
	for _, p := range s.Probes {
		j.Probes = append(j.Probes, probeJSON{p.Library, p.Function, fmt.Sprintf("%#x", p.Addr),
			p.Event, p.Set})
	}
	for _, l := range s.Libraries {
		j.Libraries = append(j.Libraries, libraryJSON{l.Name, l.Path, hex.EncodeToString(l.BuildID),
			newAppliedJSON(l.Applied)})
	}
	return j
}

func newAppliedJSON(list []engine.Applied) []appliedJSON {
	out := []appliedJSON{}
	for _, a := range list {
		j := appliedJSON{hex.EncodeToString(a.ID[:]), a.Library, hex.EncodeToString(a.BuildID),
			a.Container, "", a.Functions, a.Engine, append([]string{}, a.Labels...)}
		if !a.Time.IsZero() {
			j.Time = a.Time.UTC().Format("2006-01-02T15:04:05Z")
		}
		out = append(out, j)
	}
	return out
}

// TargetJSON is the library that a live patch is for, in the form that a program reads.
type TargetJSON struct {
	Name    string `json:"name"`
	BuildID string `json:"build_id"`
}

// NewTargetJSON returns a target in the form that a program reads.
func NewTargetJSON(t ulp.Target) TargetJSON {
	return TargetJSON{t.Name, hex.EncodeToString(t.BuildID)}
}
