package download

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/download/fetch"
	"github.com/lpbuild/lpbuild/pkg/download/repofile"
)

const maxRepoFile = 1 << 20

// places returns the repositories that a location refers to: the location itself, or the enabled
// ones of a .repo file, once for each architecture if their URLs contain it. The keys that a .repo
// file names are not trusted.
func (r *run) places(ctx context.Context, l fetch.Location) ([]*place, error) {
	if !strings.HasSuffix(l.Stable(), ".repo") {
		return []*place{{name: l.Stable(), mirrors: []fetch.Location{l}}}, nil
	}
	data, err := r.Client.Bytes(ctx, l, maxRepoFile)
	if err != nil {
		return nil, err
	}
	repos, err := repofile.Parse(l.String(), data)
	if err != nil {
		return nil, err
	}
	var all []*place
	seen := map[string]bool{}
	for _, repo := range repos {
		if !repo.Enabled {
			continue
		}
		for _, arch := range r.Arch {
			at, err := r.repoPlace(repo, arch, l)
			if err != nil {
				return nil, fmt.Errorf("%s: [%s]: %w", l, repo.Alias, err)
			}
			if !seen[at.name] {
				seen[at.name] = true
				all = append(all, at)
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: none of its repositories is enabled", l)
	}
	return all, nil
}

// repoPlace returns the place of a repository in a .repo file.
func (r *run) repoPlace(repo repofile.Repo, arch string, file fetch.Location) (*place, error) {
	vars := map[string]string{"basearch": arch, "arch": arch}
	if r.ReleaseVersion != "" {
		vars["releasever"], vars["releasever_major"] = r.ReleaseVersion, major(r.ReleaseVersion)
	}
	repo, err := repo.Expand(vars)
	if v, is := errors.AsType[*repofile.VariableError](err); is &&
		strings.HasPrefix(v.Name, "releasever") {
		return nil, fmt.Errorf("%w: it does not follow from the product %q: set it with "+
			"--releasever VERSION", err, r.Product)
	}
	if err != nil {
		return nil, err
	}
	user, password := repo.User, repo.Password
	if repo.Credentials != "" && file.IsLocal() {
		if user, password, err = repofile.ReadCredentials(r.credentialsDir(),
			repo.Credentials); err != nil {
			return nil, err
		}
	}
	locate := func(raw string) (fetch.Location, error) {
		at, err := fetch.ParseLocation(raw, filepath.Dir(file.LocalPath()))
		if err == nil && !file.IsLocal() && (at.IsLocal() || repo.Credentials != "") {
			err = errors.New("a .repo file from the network must not refer to local files or " +
				"credentials")
		}
		if user != "" {
			at = at.WithCredentials(user, password)
		}
		return at, err
	}
	p := &place{}
	for _, raw := range repo.BaseURLs {
		at, err := locate(raw)
		if err != nil {
			return nil, err
		}
		p.mirrors = append(p.mirrors, at)
	}
	if raw := cmp.Or(repo.Metalink, repo.MirrorList); raw != "" {
		if p.list, err = locate(raw); err != nil {
			return nil, err
		}
	}
	if len(p.mirrors) > 0 {
		p.name = p.mirrors[0].Stable()
	} else {
		// lists for several repositories often differ only in the query, which is not part of the
		// name
		p.name = p.list.Stable() + "#" + repo.Alias + "-" + arch
	}
	return p, nil
}

func (r *run) credentialsDir() string { return cmp.Or(r.CredentialsDir, repofile.CredentialsDir) }

func major(version string) string {
	m, _, _ := strings.Cut(version, ".")
	return m
}
