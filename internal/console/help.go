package console

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lpbuild/lpbuild/internal/program"
)

// HelpWidth is how long the lines of --help are at most.
const HelpWidth = 100

// Globals are the global flags that mean something to each command: --help, man pages and
// completion offer no others. The others are accepted, so that a script can give them to every
// command.
var Globals = map[string][]string{
	"init":              {"json", "quiet"},
	"download":          {"dir", "json", "quiet"},
	"build":             {"dir", "json", "quiet"},
	"dist":              {"dir", "json", "quiet"},
	"submit":            {"dir", "json"},
	"changes add":       {"dir", "json"},
	"clean":             {"dir", "json", "quiet"},
	"install":           {"dir", "json"},
	"changes":           {},
	"trigger":           {"json", "quiet"},
	"revert":            {"json", "quiet"},
	"status":            {"json"},
	"hook":              {},
	"hook install":      {"json"},
	"hook remove":       {"json"},
	"hook movelibs":     {"json"},
	"hook removelibs":   {"json"},
	"hook reconcile":    {"json"},
	"demo":              {},
	"version":           {"json"},
	"generate":          {},
	"schema":            {},
	"ulp":               {"json", "quiet"},
	"ulp packer":        {"json", "quiet"},
	"ulp dump":          {"json", "quiet"},
	"ulp extract":       {"json", "quiet"},
	"ulp livepatchable": {"json", "quiet"},
	"ulp post":          {"json", "quiet"},
	"ulp trigger":       {"json", "quiet"},
	"ulp patches":       {"json", "quiet"},
	"ulp check":         {"json", "quiet"},
	"ulp messages":      {"json", "quiet"},
	"ulp set_patchable": {"quiet"},
}

// Inherited returns the flags of a command's ancestors that mean something to it.
func Inherited(cmd *cobra.Command) *pflag.FlagSet {
	flags := pflag.NewFlagSet(cmd.Name(), pflag.ContinueOnError)
	cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) {
		if ofRoot := cmd.Root().PersistentFlags().Lookup(f.Name); ofRoot != f ||
			slices.Contains(Globals[WordsOf(cmd)], f.Name) {
			flags.AddFlag(f)
		}
	})
	return flags
}

// FlagUsage returns what --help calls a flag's value, and what it says of the flag. A usage that
// begins with a quoted word has it only as the name of the value.
func FlagUsage(f *pflag.Flag) (value, text string) {
	value, text = pflag.UnquoteUsage(f)
	if strings.HasPrefix(f.Usage, "`") {
		text = strings.TrimPrefix(text, value)
	}
	return value, strings.Join(strings.Fields(text), " ")
}

// DefaultOf returns what --help says of a flag's default value, "" if there is nothing to say.
func DefaultOf(f *pflag.Flag) string {
	if slices.Contains([]string{"", "false", "0", "0s", "[]"}, f.DefValue) {
		return ""
	}
	return " (default " + strings.Trim(f.DefValue, "[]") + ")"
}

// Long returns a command's description, which calls commands by the name of their program. It is
// made on demand, since no start of a program is to wait for help texts.
func Long(cmd *cobra.Command) string { return program.TextOf(cmd.Root().Name(), cmd.Long) }

// Examples returns a command's examples, which call commands by the name of their program.
func Examples(cmd *cobra.Command) string { return program.TextOf(cmd.Root().Name(), cmd.Example) }

// PrintHelp prints a command's help: what it does, how it is called, and its exit codes.
func PrintHelp(cmd *cobra.Command, w io.Writer) {
	text, exit, _ := strings.Cut(Long(cmd), "\n\nEXIT STATUS\n")
	fmt.Fprintf(w, "%s\n\n", text)
	printUsage(cmd, w)
	fmt.Fprint(w, Surroundings(cmd, [2]string{"Environment:", "Files:"}))
	if exit != "" {
		fmt.Fprintf(w, "\nExit status:\n%s\n", exit)
	}
}

func printUsage(cmd *cobra.Command, w io.Writer) {
	fmt.Fprintf(w, "Usage:\n  %s\n", UseLine(cmd))
	if text := Examples(cmd); text != "" {
		fmt.Fprintf(w, "\nExamples:\n%s\n", text)
	}
	for _, group := range append(cmd.Groups(), &cobra.Group{Title: "Commands:"}) {
		printCommands(cmd, group, w)
	}
	own := cmd.LocalFlags()
	printFlags("Flags:", own, w)
	if rest := Inherited(cmd); rest.HasAvailableFlags() {
		printFlags("Global flags:", rest, w)
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\nUse \"%s COMMAND --help\" for more about a command.\n", cmd.CommandPath())
	}
}

// UseLine is how a command is called.
func UseLine(cmd *cobra.Command) string {
	if cmd.HasAvailableSubCommands() {
		return cmd.CommandPath() + " COMMAND [flags]"
	}
	return cmd.UseLine()
}

func printCommands(cmd *cobra.Command, group *cobra.Group, w io.Writer) {
	title := "\n" + group.Title + "\n"
	for _, c := range cmd.Commands() {
		if c.GroupID == group.ID && (c.IsAvailableCommand() || c.Name() == "help") {
			fmt.Fprintf(w, "%s  %-*s %s\n", title, c.NamePadding(), c.Name(), c.Short)
			title = ""
		}
	}
}

// printFlags lists flags, each with its value, what it does, and its default.
func printFlags(title string, flags *pflag.FlagSet, w io.Writer) {
	var heads, texts []string
	width := 0
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		head := "      --" + f.Name
		if f.Shorthand != "" {
			head = "  -" + f.Shorthand + ", --" + f.Name
		}
		value, text := FlagUsage(f)
		if value != "" {
			head += " " + value
		}
		heads, texts = append(heads, head), append(texts, text+DefaultOf(f))
		width = max(width, len(head))
	})
	if len(heads) == 0 {
		return
	}
	width = min(width, maxFlagHead)
	fmt.Fprintf(w, "\n%s\n", title)
	for i, head := range heads {
		if len(head) > width {
			fmt.Fprintf(w, "%s\n", head)
			head = ""
		}
		for _, line := range wrap(texts[i], HelpWidth-width-3) {
			fmt.Fprintf(w, "%-*s   %s\n", width, head, line)
			head = ""
		}
	}
}

// maxFlagHead limits the width of the column with the flags. A longer flag has a line of its own.
const maxFlagHead = 40

// wrap breaks a text into lines of at most width characters.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case len([]rune(line))+1+len([]rune(word)) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

// exitTexts say what the exit codes mean that several commands have.
var exitTexts = map[int]string{
	ExitOK:    "success",
	ExitError: "an error",
	ExitUsage: "wrong usage",
	ExitSignature: "a signature is missing, invalid, expired or by a key that is not pinned,\n" +
		"or a repository is older than before",
	ExitUnsupported: "a file is of a kind that is not supported",
	ExitInterrupted: "interrupted",
}

// Exits is the part of a command's long help that lists its exit codes: 0 and 2, and those given.
// texts replace what exitTexts says.
func Exits(texts map[int]string, codes ...int) string {
	codes = append(codes, ExitOK, ExitUsage)
	slices.Sort(codes)
	var b strings.Builder
	b.WriteString("\n\nEXIT STATUS")
	for _, code := range codes {
		text, ok := texts[code]
		if !ok {
			text = exitTexts[code]
		}
		fmt.Fprintf(&b, "\n  %-3d  %s", code, strings.ReplaceAll(text, "\n", "\n       "))
	}
	return b.String()
}
