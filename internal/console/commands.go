package console

import (
	"fmt"
	"strings"

	"github.com/lpbuild/lpbuild/internal/program"
	"github.com/spf13/cobra"
)

// OtherGroup is the group of help and completion.
const OtherGroup = "other"

// RootCommand adds to the root command of a program what all our programs share.
func RootCommand(s *Console, root *cobra.Command) *cobra.Command {
	cobra.EnableCommandSorting = false // the order is that of the work
	root.SilenceUsage, root.SilenceErrors = true, true
	root.Args = NoArguments
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	root.Flags().Bool("version", false, "print version and commit")
	AnswerVersion(root, program.Line())
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	flags := root.PersistentFlags()
	flags.BoolVar(&s.JSON, "json", false, "print the result as JSON")
	flags.BoolVarP(&s.Quiet, "quiet", "q", false, "print no progress, only warnings and the result")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &UsageError{flagError(cmd, err), cmd.CommandPath()}
	})
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { PrintHelp(cmd, s.Out) })
	root.SetUsageFunc(func(cmd *cobra.Command) error {
		printUsage(cmd, s.Err)
		return nil
	})
	return root
}

// FinishRoot completes a root command that has all its subcommands, including the group OtherGroup.
func FinishRoot(root *cobra.Command) {
	root.SetHelpCommandGroupID(OtherGroup)
	root.SetCompletionCommandGroupID(OtherGroup)
	describeCompletion(root)
	wrapUsage(root)
	knowTopics(root)
}

// AddGroup adds commands to parent, below a title of their own. --help lists them in this order.
func AddGroup(parent *cobra.Command, id, title string, commands ...*cobra.Command) {
	parent.AddGroup(&cobra.Group{ID: id, Title: title})
	for _, c := range commands {
		c.GroupID = id
	}
	parent.AddCommand(commands...)
}

// describeCompletion gives cobra's command the manners of the others.
func describeCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	c, _, err := root.Find([]string{"completion"})
	if err != nil {
		return
	}
	c.Short = "Print the completion script for a shell"
	c.Long = "Prints the script that makes a shell complete commands, flags and values.\n" +
		"The RPM package installs these scripts."
	c.Example = "  lpbuild completion bash > completion.bash"
	c.Args, c.RunE = NoArguments, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	for _, sub := range c.Commands() {
		sub.Short = "Print the completion script for " + sub.Name()
		sub.Example = "  " + sub.CommandPath()
	}
}

// knowTopics makes help about an unknown command an error. cobra would print the usage and exit
// with 0.
func knowTopics(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	help, _, err := root.Find([]string{"help"})
	if err != nil {
		return
	}
	help.Short = "Show the help of a command"
	help.Long = "Shows the help of a command, as its flag --help does."
	help.Use, help.Example = "help [COMMAND]", "  lpbuild help status\n  lpbuild help ulp trigger"
	help.Run = nil
	help.RunE = func(_ *cobra.Command, args []string) error {
		topic, rest, err := root.Find(args)
		if err != nil || len(rest) > 0 {
			text := fmt.Sprintf("there is no command %q",
				strings.Join(append([]string{root.Name()}, args...), " "))
			if topic == nil {
				topic, rest = root, args
			}
			return &UsageError{UnknownCommand(topic, rest[0], text), root.Name()}
		}
		topic.InitDefaultHelpFlag()
		return topic.Help()
	}
}

// versionAnnotation is what a command prints for --version. cobra has such a flag, too, but its
// templates keep the linker from leaving out what a program does not use.
const versionAnnotation = "version"

// AnswerVersion makes a command print line if its flag --version is given, whatever else is.
func AnswerVersion(cmd *cobra.Command, line string) {
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[versionAnnotation] = line
}

func asksVersion(cmd *cobra.Command) bool {
	asked, err := cmd.Flags().GetBool("version")
	return err == nil && asked && cmd.Annotations[versionAnnotation] != ""
}

// wrapUsage marks wrong arguments as errors of the command line, and answers --version.
func wrapUsage(cmd *cobra.Command) {
	cmd.Long = strings.TrimSpace(cmd.Long) // in the source, the text begins on a line of its own
	check, run := cmd.Args, cmd.RunE
	if check == nil {
		check = NoArguments
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if asksVersion(cmd) {
			return nil
		}
		err := check(cmd, args)
		if err == nil {
			err = noneEmpty(cmd)
		}
		if err != nil {
			return &UsageError{err, cmd.CommandPath()}
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if asksVersion(cmd) {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), cmd.Annotations[versionAnnotation])
			return err
		}
		return run(cmd, args)
	}
	for _, sub := range cmd.Commands() {
		wrapUsage(sub)
	}
}

// noneEmpty rejects -p "" and -u "", which a script passes if a variable is unset: they would
// select all processes.
func noneEmpty(cmd *cobra.Command) error {
	for _, name := range []string{"process", "user"} {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed && f.Value.String() == "" {
			return fmt.Errorf("--%s must not be empty: omit it to select all processes", name)
		}
	}
	return nil
}

// Needs rejects a command line with fewer than n arguments, and names the missing one.
func Needs(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < n {
			return fmt.Errorf("%s is required", what)
		}
		return nil
	}
}
