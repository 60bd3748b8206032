package ulpcli

import (
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

func (u *ulpTool) newExtract() *cobra.Command {
	var output, debug string
	cmd := u.command(&cobra.Command{
		Use:   "extract [-d DEBUGINFO] [-o OUT.json] LIBRARY",
		Short: "Write the catalogue of a library",
		Long: `
Writes a catalogue: the name, build-id and symbols of a library, as JSON. Live patches can be
packed with the catalogue instead of the library, also for functions without NOPs ("ulp packer
--entries=any"). It has private symbols if the library is not stripped, or if its separate
debuginfo file is given. The library's name is the last element of its path; it must be the name
that processes load.

libpulp's packer can read the catalogue, too; it skips the keys that only lpbuild knows.`,
		Example: `  lpbuild ulp extract /lib64/libc.so.6 -o libc.so.6.json
  lpbuild ulp extract -d libc.so.6.debug -o - lib64/libc.so.6 | jq .library.buildid`,
	}, func(file string) error { return u.runExtract(file, debug, output) })
	cmd.Flags().StringVarP(&output, "output", "o", "out.json",
		"`FILE` write to this file; - means standard output")
	cmd.Flags().StringVarP(&debug, "with-debuginfo", "d", "",
		"`FILE` add the symbols of this debuginfo file")
	return cmd
}

func (u *ulpTool) runExtract(file, debug, output string) error {
	lib, err := symtab.OpenLibrary(file, symtab.LibraryOptions{Debug: debug, Prove: true})
	if err == nil && len(lib.BuildID) == 0 {
		err = errors.New("it does not have a build id")
	}
	if err != nil {
		return quietError{fmt.Errorf("error reading elf file %s: %s", file, reason(err, file))}
	}
	data := lib.AppendCatalogue(nil)
	if output == "-" {
		u.s.Finish()
		_, err := u.s.Out.Write(data)
		return err
	}
	if err := writeFile(output, data, 0o644); err != nil {
		return err
	}
	functions, patchable := count(lib)
	u.debug("%d symbols, %d patchable functions in %s", lib.Len(), patchable, output)
	if !u.s.JSON {
		return nil
	}
	return u.s.PrintJSON(struct {
		File      string      `json:"file"`
		Name      string      `json:"name"`
		BuildID   string      `json:"build_id"`
		Arch      symtab.Arch `json:"arch"`
		Symbols   int         `json:"symbols"`
		Functions int         `json:"functions"`
		Patchable int         `json:"patchable"`
	}{output, lib.Name, hex.EncodeToString(lib.BuildID), lib.Arch, lib.Len(), functions, patchable})
}

// count returns how many functions the library defines, and how many of them can be replaced. Names
// of one function count as one.
func count(lib *symtab.Library) (functions, patchable int) {
	seen := map[uint64]bool{}
	for s := range lib.Symbols() {
		if s.Type() != elf.STT_FUNC || s.Undefined || seen[s.Value] {
			continue
		}
		seen[s.Value] = true
		functions++
		if s.Patchable {
			patchable++
		}
	}
	return functions, patchable
}

func (u *ulpTool) newLivepatchable() *cobra.Command {
	return u.command(&cobra.Command{
		Use:   "livepatchable LIBRARY",
		Short: "Report whether a library can be live patched",
		Long: `
Reports whether a library was built for live patching, on standard error and by the exit code:
whether it has a section __patchable_function_entries. It also takes catalogues that "lpbuild ulp
extract" wrote. With -v, it adds how many functions actually have room for a detour.

EXIT STATUS
  0    the library can be live patched
  1    it cannot, or an error
  64   wrong usage`,
		Example: "  lpbuild ulp livepatchable -q /lib64/libc.so.6 || echo no",
	}, u.runLivepatchable)
}

func (u *ulpTool) runLivepatchable(file string) error {
	if _, err := os.Stat(file); err != nil {
		return said("Unable to open file '%s': %s", file, reason(err, file))
	}
	lib, err := symtab.OpenLibrary(file, symtab.LibraryOptions{})
	if err != nil {
		return err
	}
	if !lib.Complete {
		return fmt.Errorf("file '%s' does not tell: it is a catalogue of libpulp's tool; use "+
			"the library, or extract it again", file)
	}
	functions, patchable := count(lib)
	if u.s.JSON {
		err = u.s.PrintJSON(struct {
			File          string `json:"file"`
			Livepatchable bool   `json:"livepatchable"`
			Functions     int    `json:"functions"`
			Patchable     int    `json:"patchable"`
		}{file, lib.Livepatchable, functions, patchable})
	}
	if lib.Livepatchable {
		u.say("file '%s' is livepatchable.", file)
		u.debug("%d of %d functions are patchable", patchable, functions)
		return err
	}
	u.say("file '%s' is not livepatchable: Missing __patchable_function_entries section.", file)
	return errors.Join(err, console.Reported(ulp.ErrNotPatchable))
}

func (u *ulpTool) newPost() *cobra.Command {
	return u.command(&cobra.Command{
		Use:   "post LIBRARY",
		Short: "Prepare a library for live patching",
		Long: `
Merges the two NOPs at the entry of each patchable function into one instruction, so that no
thread can be between them when a jump is written there. Run it once, after linking and before
stripping (in a stripped library, private functions are not found). Running it again changes
nothing. The file is replaced atomically. On architectures other than x86_64 there is nothing to
do.`,
		Example: "  lpbuild ulp post libfoo.so.1",
	}, u.runPost)
}

func (u *ulpTool) runPost(file string) error {
	image, err := readRegular(file, maxObject)
	if err != nil {
		return said("Unable to open file '%s': %s", file, reason(err, file))
	}
	m, err := ulp.MergeNOPs(image)
	switch {
	case errors.Is(err, ulp.ErrNotPatchable):
		return said("Section __patchable_function_entries not found.\n(Binary not built with " +
			"-fpatchable-function-entry?)")
	case err != nil:
		return fmt.Errorf("%s: %w", file, err)
	}
	if m.Merged > 0 {
		if err := writeFile(file, m.Image, 0o755); err != nil {
			return err
		}
	}
	u.debug("%d merged, %d merged before, %d others", m.Merged, m.Already, m.Others)
	if !u.s.JSON {
		return nil
	}
	return u.s.PrintJSON(struct {
		File    string `json:"file"`
		Merged  int    `json:"merged"`
		Already int    `json:"already"`
		Others  int    `json:"others"`
	}{file, m.Merged, m.Already, m.Others})
}
