package ulpcli

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/internal/lazyregexp"
	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// maxDescription bounds description files, in bytes. ParseDescription says what is too large.
const maxDescription = 2 << 20

type packerOptions struct {
	output, livepatch, target, debug, entries, unwinding string
	ulp.PackOptions
}

func (u *ulpTool) newPacker() *cobra.Command {
	var o packerOptions
	cmd := u.command(&cobra.Command{
		Use:   "packer [-o FILE] [-l LIVEPATCH] [-t LIBRARY] [-d DEBUGINFO] X.dsc",
		Short: "Make a live patch of a shared object and a description",
		Long: `
Reads the description X.dsc and embeds the metadata into the container, the shared object that the
description names. The container is replaced. Relative paths in the description are relative to
the current directory. The target is an ELF library or a catalogue that "ulp extract" wrote.
Private functions of a stripped library are found in its separate debuginfo file.

A live patch that cannot work is rejected, with all reasons at once: functions that do not exist,
are indirect (IFUNC), have no room for a detour, or have callers that rely on registers which only
the present code leaves alone; replacements that are not exported; references that do not fit.
--force packs what libpulp's packer would pack. With --entries=any, functions without NOPs are
accepted if the native engine of "lpbuild trigger" provably can replace them. libpulp cannot apply
such a live patch.

A name that stands for different functions in different symbol versions is rejected: bar@V1:lp and
bar@@V2:lp (the default version) replace one version each, and bar@*:lp replaces all. This works
with stripped libraries and catalogues, too.

Copies and parts that the compiler made of a replaced function (scale.constprop.0, .isra, .part)
must be replaced as well, unless --accept-clones is given. One of several static functions of the
same name is chosen by its source file or, for one build, by its address: malloc.c/arena_get:lp,
0x8b2c0/arena_get:lp.

A pointer in the container that is named lpbuild_original_NAME leads to the former code of the
replaced function NAME: see "lpbuild build --help". The description needs no line for it.
libpulp's packer does not know this.

A pattern (__memcpy_*:memcpy_lp) stands for the functions that the indirect function memcpy of the
target can choose. Placeholders ({version}, GLIBCVER ...) are for "lpbuild build"; here they are
errors unless -l and -t give the names.

libpulp's packer accepts -o, but ignores it.`,
		Example: `  lpbuild ulp packer libc_livepatch1.dsc
  lpbuild ulp packer --entries=any libc_livepatch1.dsc
  lpbuild ulp packer -t libc.so.6.json -l build/libc_livepatch1.so -o out.so libc_livepatch1.dsc`,
	}, func(file string) (err error) {
		if o.Entries, err = symtab.ParseEntries(o.entries); err != nil {
			return console.Usage(fmt.Errorf("--entries: %w", err), "lpbuild ulp packer")
		}
		if o.Unwinding, err = ulp.ParseUnwinding(o.unwinding); err != nil {
			return console.Usage(fmt.Errorf("--unwinding: %w", err), "lpbuild ulp packer")
		}
		return u.runPacker(o, file)
	})
	flags := cmd.Flags()
	flags.StringVarP(&o.output, "output", "o", "",
		"`FILE` write the live patch here and leave the container as it is")
	flags.StringVarP(&o.livepatch, "livepatch", "l", "",
		"`CONTAINER` use this container instead of the one that the description names")
	flags.StringVarP(&o.target, "target", "t", "",
		"`LIBRARY` use this library or catalogue instead of the one that the description names")
	flags.StringVarP(&o.debug, "with-debuginfo", "d", "",
		"`FILE` add the symbols of this debuginfo file to those of the library")
	flags.BoolVar(&o.Force, "force", false,
		"also pack live patches that cannot work, as libpulp does")
	flags.StringVar(&o.entries, "entries", "nops",
		"`nops|any` functions that may be replaced: those with NOPs at their entry, or any "+
			"where that is provably safe")
	flags.BoolVar(&o.AcceptClones, "accept-clones", false,
		"do not require that the compiler's copies of replaced functions are replaced, too")
	flags.StringVar(&o.unwinding, "unwinding", "any",
		"`any|none` what may pass through the replacements: exceptions and cancellation, or "+
			"none,\n"+
			"so that the native engine can replace functions that handle them")
	flags.BoolVar(&o.AllComments, "all-comments", false,
		"embed all comments; libpulp embeds only the first line")
	return cmd
}

func (u *ulpTool) runPacker(o packerOptions, file string) error {
	image, output, err := u.pack(o, file)
	if err == nil {
		err = writeFile(output, image, 0o755)
	}
	if err != nil {
		return u.packingFailed(file, err)
	}
	u.say("metadata successfully embedded into livepatch container")
	if !u.s.JSON {
		return nil
	}
	c, err := ulp.ParseContainer(image)
	if err != nil {
		return err
	}
	p, err := c.LivePatch()
	if err != nil {
		return err
	}
	return u.s.PrintJSON(livePatchJSON(output, p))
}

// packingFailed prints the findings, even with -q, as libpulp does.
func (u *ulpTool) packingFailed(file string, err error) error {
	if u.s.JSON {
		return errors.Join(u.s.PrintJSON(struct {
			File   string        `json:"file"`
			Errors []findingJSON `json:"errors"`
		}{file, findingsJSON(err)}), console.Reported(err))
	}
	if _, ok := errors.AsType[diag.List](err); ok {
		fmt.Fprint(u.s.Err, diag.Render(err, u.s.Color))
	} else {
		fmt.Fprintf(u.s.Err, "ulp: %s\n", diag.Printable(err.Error()))
	}
	u.say("metadata file generation failed.")
	return console.Reported(err)
}

// pack returns the live patch, and the path to write it to.
func (u *ulpTool) pack(o packerOptions, file string) (image []byte, output string, err error) {
	u.debug("parsing the description file (%s).", file)
	text, err := readRegular(file, maxDescription)
	if err != nil {
		return nil, "", said("Unable to open description file %s: %s", file, reason(err, file))
	}
	d, err := ulp.ParsePartialDescription(file, text)
	in := packerInput{d: d, text: text}
	in.errs, _ = errors.AsType[diag.List](err)
	c, lib := in.open(o)
	if err := in.errs.Err(); err != nil {
		return nil, "", in.withOtherFindings(err, c, lib, o)
	}
	u.debug("live patch: %s.", in.container)
	u.debug("target: %s, build id %s.", in.target, hex.EncodeToString(lib.BuildID))
	if d, text, err = in.expand(c, lib, o); err != nil {
		return nil, "", err
	}
	if image, err = ulp.Pack(d, text, c, lib, o.PackOptions); err != nil {
		return nil, "", err
	}
	if o.output != "" {
		return image, o.output, nil
	}
	return image, in.container, nil
}

// packerInput holds the files that a description names, and the findings about them.
type packerInput struct {
	d                 *ulp.Description
	text              []byte
	container, target string // paths
	errs              diag.List
}

// open reads the container and the target; those that cannot be read are nil. Where the description
// is not what names them, it is changed accordingly.
func (in *packerInput) open(o packerOptions) (*ulp.Container, *symtab.Library) {
	in.container, in.target = in.d.Container.Text, in.d.Target.Text
	if o.livepatch != "" {
		in.container, in.d.Container.Text = o.livepatch, o.livepatch
	}
	if o.target != "" {
		in.target = o.target
		if placeholder().MatchString(in.d.Target.Text) {
			in.d.Target.Text = o.target // otherwise the two are compared
		}
	}
	return in.openContainer(o), in.openTarget(o)
}

func (in *packerInput) openContainer(o packerOptions) *ulp.Container {
	if in.container == "" {
		return nil // which was reported
	}
	image, err := readRegular(in.container, maxObject)
	if err != nil {
		in.absent(in.d.Container, o.livepatch, "livepatch container file not found", "-l", err)
		return nil
	}
	c, err := ulp.ParseContainer(image)
	if err != nil {
		in.fail(in.d.Container, err, "", "Unsupported container format: %s: %v", in.container, err)
	}
	return c
}

func (in *packerInput) openTarget(o packerOptions) *symtab.Library {
	if in.target == "" {
		return nil
	}
	if _, err := os.Stat(in.target); err != nil {
		in.absent(in.d.Target, o.target, "unable to open target file", "-t", err)
		return nil
	}
	lib, err := symtab.OpenLibrary(in.target, symtab.LibraryOptions{Debug: o.debug,
		Prove: o.Entries == symtab.EntriesAny, Callers: !o.Force})
	switch {
	case err != nil:
		in.fail(in.d.Target, err, "", "Unsupported target format: %s: %s", in.target,
			reason(err, in.target))
	case o.Entries == symtab.EntriesAny && !lib.HasProofs() &&
		(lib.Arch == "" || lib.Arch == symtab.X86_64):
		in.fail(in.d.Target, ulp.ErrNotPatchable, "name the library itself: -t FILE",
			"%s does not tell which functions can be replaced without NOPs (--entries=any)",
			in.target)
	}
	return lib
}

// placeholder matches the placeholders of templates: see Description.Expand.
var placeholder = lazyregexp.New(`\{[^{}]*\}|GLIBCVER|LIBPTHREAD|LIBRT|LIBC`)

// absent reports a file that cannot be opened. If the description names it and it has placeholders,
// they are the reason.
func (in *packerInput) absent(n ulp.Name, option, message, flag string, err error) {
	at := placeholder().FindStringIndex(n.Text)
	if option != "" || at == nil || !errors.Is(err, fs.ErrNotExist) {
		in.fail(n, err, "the path is relative to the current directory; "+flag+" gives another",
			"%s: %s", message, reason(err, ""))
		return
	}
	in.fail(n, ulp.ErrPlaceholder,
		`"lpbuild build" makes one live patch of this template for every build; for a single one `+
			`say by `+
			flag+" what the name stands for", "%s: the placeholder %s has no value here", message,
		n.Text[at[0]:at[1]])
	found := in.errs[len(in.errs)-1]
	found.Column, found.Length = found.Column+at[0], at[1]-at[0]
}

func (in *packerInput) fail(n ulp.Name, err error, hint, format string, args ...any) {
	in.errs = append(in.errs, &diag.Diagnostic{Pos: n.Pos,
		Length: len(diag.Line(in.text, n.Pos.Line)), Err: err, Hint: hint,
		Source: diag.Line(in.text, n.Pos.Line), Message: fmt.Sprintf(format, args...)})
}

// expand replaces the patterns. Without any, the description and its text stay what they are, so
// that the patch id is that of the file; with them it is that of the expanded description, which
// differs from target to target.
func (in *packerInput) expand(c *ulp.Container, lib *symtab.Library,
	o packerOptions) (*ulp.Description, []byte, error) {
	// Only patterns are wanted: names of files may have placeholders' words in them here, and be
	// paths.
	template := *in.d
	template.Container.Text, template.Target.Text = "container.so", "target"
	d, err := template.Expand(ulp.Expansion{}, lib)
	if err != nil {
		return nil, nil, in.withOtherFindings(err, c, lib, o)
	}
	d.Container, d.Target = in.d.Container, in.d.Target
	if text := []byte(d.String()); !bytes.Equal(text, []byte(in.d.String())) {
		return d, text, nil
	}
	return in.d, in.text, nil
}

// withOtherFindings adds the other findings about the description to those in err, and sorts all of
// them by line.
func (in *packerInput) withOtherFindings(err error, c *ulp.Container, lib *symtab.Library,
	o packerOptions) error {
	found, ok := errors.AsType[diag.List](err)
	if !ok || o.Force {
		return err
	}
	plain := *in.d
	plain.Functions = nil
	for _, r := range in.d.Functions {
		if !isPattern(r.Old.Text) {
			plain.Functions = append(plain.Functions, r)
		}
	}
	others, _ := errors.AsType[diag.List](ulp.Check(&plain, c, lib, o.Entries))
	// The functions that could not be read or expanded are missing from plain.
	others = slices.DeleteFunc(others, func(d *diag.Diagnostic) bool {
		return errors.Is(d, ulp.ErrNothing)
	})
	all := slices.Concat(found, others)
	slices.SortStableFunc(all, func(a, b *diag.Diagnostic) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return all.Err()
}

// isPattern reports whether the name of a function is a pattern: see Description.Expand.
func isPattern(name string) bool { return strings.ContainsAny(name, "*?[") }

// findingJSON is the JSON form of a finding.
type findingJSON struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func findingsJSON(err error) []findingJSON {
	list, ok := errors.AsType[diag.List](err)
	if !ok {
		return []findingJSON{{Message: err.Error()}}
	}
	var found []findingJSON
	for _, d := range list {
		found = append(found, findingJSON{d.File, d.Line, d.Column, d.Message, d.Hint})
	}
	return found
}
