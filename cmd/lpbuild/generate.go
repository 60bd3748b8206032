package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lpbuild/lpbuild/internal/atomicfile"
	"github.com/lpbuild/lpbuild/internal/configref"
	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/internal/enginecli"
	"github.com/lpbuild/lpbuild/internal/manual"
	"github.com/lpbuild/lpbuild/internal/program"
	"github.com/lpbuild/lpbuild/internal/ulpcli"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
)

// manualDate is the date of every man page, fixed so that builds are reproducible.
var manualDate = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// newGenerate returns a command for packagers. Man pages and shell completions are derived from the
// commands.
func newGenerate(s *console.Console) *cobra.Command {
	var man, completion, docs string
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Write man pages, shell completions and the reference of lpbuild.yaml",
		Long: "Writes the texts that are derived from the program: from its commands, and from " +
			"the structs that\n" +
			"hold lpbuild.yaml." + console.Exits(nil, console.ExitError),
		Hidden:  true,
		Example: "  lpbuild generate --man man --completion completion",
		Args:    console.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if man == "" && completion == "" && docs == "" {
				return console.Usage(errors.New("--man, --completion or --docs is required"),
					"lpbuild generate")
			}
			if docs != "" {
				if err := reference(docs); err != nil {
					return err
				}
			}
			roots := []*cobra.Command{cmd.Root(), engineRoot(s)}
			if man != "" {
				if err := manuals(roots, man); err != nil {
					return err
				}
			}
			if completion == "" {
				return nil
			}
			return completions(roots, completion)
		},
	}
	cmd.Flags().StringVar(&man, "man", "", "`DIR` write man pages to this directory")
	cmd.Flags().StringVar(&completion, "completion", "",
		"`DIR` write completions for bash, zsh and fish to this directory")
	cmd.Flags().StringVar(&docs, "docs", "",
		"`DIR` write the reference of lpbuild.yaml to this directory")
	return cmd
}

// reference writes the page about lpbuild.yaml.
func reference(dir string) error {
	keys, err := config.Keys()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, config.FileName+".md"),
		configref.Markdown(keys), 0o644)
}

// manuals writes the man page of every command that --help shows, that of lpbuild.yaml, and ulp.1
// for the link of that name.
func manuals(roots []*cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, root := range roots {
		for _, c := range documented(root) {
			page := manualPage(c)
			if err := atomicfile.Write(filepath.Join(dir, page.Name+".1"), page.Roff(),
				0o644); err != nil {
				return err
			}
		}
	}
	keys, err := config.Keys()
	if err != nil {
		return err
	}
	page := configref.Page(keys, manualDate)
	if err := atomicfile.Write(filepath.Join(dir, page.Name+".5"), page.Roff(), 0o644); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, "ulp.1"), []byte(".so man1/lpbuild-ulp.1\n"), 0o644)
}

// documented returns a command and its subcommands that have a man page.
func documented(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		if !sub.Hidden && sub.Name() != "help" && sub.Name() != "completion" {
			all = append(all, documented(sub)...)
		}
	}
	return all
}

func manualName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// manualPage returns a command's man page, which has the text of its --help.
func manualPage(c *cobra.Command) *manual.Page {
	p := &manual.Page{
		Name: manualName(c), Summary: c.Short, Synopsis: []string{console.UseLine(c)},
		Examples: console.Examples(c), Date: manualDate,
		Text: console.Long(c) + "\n" + console.Surroundings(c, [2]string{"ENVIRONMENT", "FILES"}),
	}
	c.InitDefaultHelpFlag()
	for _, flags := range []*pflag.FlagSet{c.NonInheritedFlags(), console.Inherited(c)} {
		flags.VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				p.Options = append(p.Options, manualOption(f))
			}
		})
	}
	if c.HasParent() {
		p.SeeAlso = append(p.SeeAlso, manualName(c.Parent()))
	}
	for _, sub := range documented(c)[1:] {
		if sub.Parent() == c {
			p.SeeAlso = append(p.SeeAlso, manualName(sub))
		}
	}
	if slices.ContainsFunc(console.MentionedFor(console.Files, c),
		func(m console.Mention) bool { return m.Name == config.FileName }) ||
		!c.HasParent() {
		p.SeeAlso = append(p.SeeAlso, config.FileName+"(5)")
	}
	return p
}

func manualOption(f *pflag.Flag) manual.Option {
	value, text := console.FlagUsage(f)
	return manual.Option{Names: console.FlagNames(f), Value: value, Text: text +
		console.DefaultOf(f)}
}

func completions(roots []*cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var all []error
	for _, root := range roots {
		name := root.Name()
		all = append(all,
			root.GenBashCompletionFileV2(filepath.Join(dir, name+".bash"), true),
			root.GenZshCompletionFile(filepath.Join(dir, "_"+name)),
			root.GenFishCompletionFile(filepath.Join(dir, name+".fish"), true))
	}
	return errors.Join(all...)
}

// engineRoot returns the commands of lpbuild-engine.
func engineRoot(s *console.Console) *cobra.Command {
	own := program.Name()
	defer program.SetName(own)
	program.SetName(enginecli.Name)
	return enginecli.Root(s, ulpcli.NewForProcesses(s))
}
