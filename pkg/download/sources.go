package download

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/download/fetch"
	"github.com/lpbuild/lpbuild/pkg/download/repofile"
)

const maxRepoFile = 1 << 20

// locations returns the repositories that a location stands for: itself, or the enabled ones of a .repo file, once for
// each architecture if their URLs differ by it. The keys that a .repo file names vouch for nothing here.
func (r *run) locations(ctx context.Context, l fetch.Location) ([]fetch.Location, error) {
	if !strings.HasSuffix(l.Stable(), ".repo") {
		return []fetch.Location{l}, nil
	}
	data, err := r.Client.Bytes(ctx, l, maxRepoFile)
	if err != nil {
		return nil, err
	}
	repos, err := repofile.Parse(l.String(), data)
	if err != nil {
		return nil, err
	}
	var all []fetch.Location
	seen := map[string]bool{}
	for _, repo := range repos {
		if !repo.Enabled {
			continue
		}
		for _, arch := range r.Arch {
			at, err := r.repoLocation(repo, arch, l)
			if err != nil {
				return nil, fmt.Errorf("%s: [%s]: %w", l, repo.Alias, err)
			}
			if !seen[at.Stable()] {
				seen[at.Stable()] = true
				all = append(all, at)
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: no repository in it is enabled", l)
	}
	return all, nil
}

// repoLocation returns where a repository of a .repo file is.
func (r *run) repoLocation(repo repofile.Repo, arch string, file fetch.Location) (fetch.Location, error) {
	repo, err := repo.Expand(map[string]string{
		"basearch": arch, "arch": arch, "releasever": r.ReleaseVersion, "releasever_major": major(r.ReleaseVersion),
	})
	if err != nil {
		return fetch.Location{}, err
	}
	at, err := fetch.ParseLocation(repo.BaseURL, filepath.Dir(file.LocalPath()))
	if err != nil {
		return fetch.Location{}, err
	}
	if !file.IsLocal() && (at.IsLocal() || repo.Credentials != "") {
		return fetch.Location{}, fmt.Errorf("a .repo file from the network must name neither files of this machine nor its credentials")
	}
	user, password := repo.User, repo.Password
	if repo.Credentials != "" {
		if user, password, err = repofile.ReadCredentials(r.credentialsDir(), repo.Credentials); err != nil {
			return fetch.Location{}, err
		}
	}
	if user == "" {
		return at, nil
	}
	return at.WithCredentials(user, password), nil
}

func (r *run) credentialsDir() string { return cmp.Or(r.CredentialsDir, repofile.CredentialsDir) }

func major(version string) string {
	m, _, _ := strings.Cut(version, ".")
	return m
}
