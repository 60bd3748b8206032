package config

import (
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
)

// OBS describes how the Open Build Service builds the package, and where updates go.
type OBS struct {
	// The most builds that one worker makes live patches for. If there are more builds, the service
	// builds the package in several flavors, each on a worker of its own.
	FlavorBuilds int `key:"flavor-builds" default:"64" example:"32"`

	// The project in which the update is to be released. The default is the project from which the
	// package was branched.
	ReleaseProject string `key:"release-project" example:"SUSE:SLE-15-SP5:Update"`

	// The project that is asked for a maintenance incident. The default is that of the service.
	IncidentProject string `key:"incident-project" example:"SUSE:Maintenance"`
}

// DefaultFlavorBuilds is a matter of minutes for one worker.
const DefaultFlavorBuilds = 64

func (c *Config) readOBS(d *document, n *yaml.Node) {
	d.mapping(n, "obs", fields{
		"flavor-builds": func(n *yaml.Node) {
			count, err := strconv.Atoi(n.Value)
			if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil || count < 1 {
				d.add(n, "flavor-builds: a number of builds, 1 or more, belongs here", "")
				return
			}
			c.OBS.FlavorBuilds = count
		},
		"release-project":  d.string("release-project", &c.OBS.ReleaseProject, isProject),
		"incident-project": d.string("incident-project", &c.OBS.IncidentProject, isProject),
	})
}

var projectName = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._+:-]*$`)

func isProject(s string) error {
	if len(s) > 200 || !projectName().MatchString(s) {
		return fmt.Errorf("%q is no name of a project: for example SUSE:SLE-15-SP5:Update", s)
	}
	return nil
}
