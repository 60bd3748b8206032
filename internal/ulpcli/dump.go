package ulpcli

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/enginecli"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

func (u *ulpTool) newDump() *cobra.Command {
	var buildID, revert bool
	cmd := u.command(&cobra.Command{
		Use:   "dump [-b] [--revert] FILE",
		Short: "Print the metadata of a live patch",
		Long: `
Prints the metadata of a live patch: patch id, target, functions with their addresses in the
target, references with the offsets on both sides, comments, and warnings if the parts do not
belong together.

In addition to what libpulp's tool prints, it shows the whole patch id, the names of referenced
variables, the build-id of the container, the reverse patch and dependencies.`,
		Example: "  lpbuild ulp dump libc_livepatch1.so\n  lpbuild ulp dump --json " +
			"libc_livepatch1.so | jq -r '.functions[].old'",
	}, func(file string) error { return u.runDump(file, buildID, revert) })
	cmd.Flags().BoolVarP(&buildID, "buildid", "b", false, "print only the build-id of the target")
	cmd.Flags().BoolVar(&revert, "revert", false, "print the reverse patch instead")
	return cmd
}

func (u *ulpTool) runDump(file string, buildID, revert bool) error {
	p, err := u.readDump(file, revert)
	if err != nil {
		return quietError{err}
	}
	path, err := filepath.EvalSymlinks(file)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		path = file
	}
	switch {
	case u.s.JSON:
		return u.s.PrintJSON(livePatchJSON(path, p))
	case buildID:
		u.s.Print("%x\n", p.Metadata.Target.BuildID)
	case revert:
		u.s.Print("%s", p.DumpReverse(path))
	default:
		u.s.Print("%s", p.Dump(path))
	}
	return nil
}

// readDump reads the live patch that is to be shown.
func (u *ulpTool) readDump(file string, revert bool) (*ulp.LivePatch, error) {
	var c *ulp.Container
	image, err := readRegular(file, maxObject)
	if err == nil {
		c, err = ulp.ParseContainer(image)
	}
	if err != nil {
		return nil, said("Unable to extract metadata file from %s: %s", file, reason(err, file))
	}
	p, err := c.LivePatch()
	if err == nil && revert && p.Reverse == nil {
		err = fmt.Errorf("%w: no section %s", ulp.ErrNotPacked, ulp.SectionReverse)
	}
	switch {
	case errors.Is(err, ulp.ErrNotPacked):
		return nil, said("Unable to extract metadata file from %s: %w", file, err)
	case err != nil:
		return nil, fmt.Errorf("error parsing the metadata file (%s): %w", file, err)
	}
	return p, nil
}

// patchJSON is the JSON form of a live patch. Offsets and addresses are numbers.
type patchJSON struct {
	File         string               `json:"file"`
	PatchID      string               `json:"patch_id"`
	BuildID      string               `json:"build_id"` // of the container
	Arch         symtab.Arch          `json:"arch"`
	Target       enginecli.TargetJSON `json:"target"`
	Functions    []functionJSON       `json:"functions"`
	References   []referenceJSON      `json:"references"`
	Dependencies []string             `json:"dependencies"`
	Reverse      *reverseJSON         `json:"reverse"` // null: the section .ulp.rev is missing
	Comments     string               `json:"comments"`
	Entries      symtab.Entries       `json:"entries"` // where the native engine may put detours
	// whether exceptions or cancellation pass through the replacements
	Unwinding ulp.Unwinding `json:"unwinding"`
	Warnings  []string      `json:"warnings"`
}

type functionJSON struct {
	Old     string `json:"old"`
	New     string `json:"new"`
	Address uint64 `json:"address"`
}

type referenceJSON struct {
	Target       string `json:"target"`
	Reference    string `json:"reference"`
	TargetOffset uint64 `json:"target_offset"`
	PatchOffset  uint64 `json:"patch_offset"`
	TLS          bool   `json:"tls"`
}

type reverseJSON struct {
	PatchID string               `json:"patch_id"`
	Target  enginecli.TargetJSON `json:"target"`
}

func livePatchJSON(file string, p *ulp.LivePatch) patchJSON {
	m := p.Metadata
	j := patchJSON{
		File: file, PatchID: hex.EncodeToString(m.PatchID[:]),
		BuildID: hex.EncodeToString(p.BuildID), Arch: p.Arch,
		Target: enginecli.NewTargetJSON(m.Target), Functions: []functionJSON{},
		References: []referenceJSON{}, Dependencies: []string{},
		Comments: p.Comments, Entries: cmp.Or(p.Entries, symtab.EntriesNOPs),
		Unwinding: cmp.Or(p.Unwinding, ulp.UnwindingAny),
		Warnings:  []string{},
	}
	for _, f := range m.Functions {
		j.Functions = append(j.Functions, functionJSON{f.Old, f.New, f.OldValue})
	}
	for _, r := range m.References {
		j.References = append(j.References, referenceJSON(r))
	}
	for _, id := range m.Dependencies {
		j.Dependencies = append(j.Dependencies, hex.EncodeToString(id[:]))
	}
	if r := p.Reverse; r != nil {
		j.Reverse = &reverseJSON{hex.EncodeToString(r.PatchID[:]),
			enginecli.NewTargetJSON(r.Target)}
	}
	if err := p.Consistent(); err != nil {
		j.Warnings = strings.Split(err.Error(), "\n")
	}
	return j
}
