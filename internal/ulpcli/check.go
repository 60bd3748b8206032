package ulpcli

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/pkg/engine"
)

func (u *ulpTool) newCheck() *cobra.Command {
	var o processOptions
	cmd := &cobra.Command{
		Use:   "check -p PID CONTAINER",
		Short: "Report whether a live patch is applied to a process",
		Long: `
Reports whether a live patch is applied to a process with libpulp.so, on standard error and by the
exit code. The process is not stopped.

EXIT STATUS
  0    it is not applied
  1    it is applied, or the file is not a live patch
  64   wrong usage
  255  unknown: no such process, no libpulp.so in it, or the live patch is not for the process`,
		Example: "  lpbuild ulp check -p 4711 libc_livepatch1.so",
	}
	o.addPID(cmd)
	return u.processCommand(cmd, oneFile, func(cmd *cobra.Command, args []string) error {
		return u.runCheck(cmd.Context(), &o, args[0])
	})
}

func (u *ulpTool) runCheck(ctx context.Context, o *processOptions, file string) error {
	containers, err := engine.ReadContainers(ctx, []string{file}, false)
	if err != nil {
		return err
	}
	if len(containers.Bad) > 0 {
		u.say("error extracting .ulp section from %s: %s", file, containers.Bad[0].Err)
		return console.Reported(containers.Bad[0])
	}
	pid := o.onePID()
	if pid == 0 {
		u.say("check does not support process wildcard")
		return codeError{console.Reported(engine.ErrNoProcess), exitUlpFatal}
	}
	applied, err := (&engine.Libpulp{}).Check(ctx, pid, containers.List[0])
	switch {
	case err != nil && ctx.Err() != nil:
		return err
	case errors.Is(err, engine.ErrBuildID), errors.Is(err, engine.ErrNotLoaded):
		text, detail := libpulpText(err)
		u.say("error checking live patch sanity. %s.", text)
		u.debug("%s", detail)
	case err != nil:
		u.gathering(err)
	}
	if err != nil {
		return codeError{console.Reported(err), exitUlpFatal}
	}
	if u.s.JSON {
		if err := u.s.PrintJSON(map[string]bool{"applied": applied}); err != nil {
			return err
		}
	}
	if !applied {
		u.say("patch not yet applied")
		return nil
	}
	u.say("patch already applied")
	return console.Reported(engine.ErrApplied)
}

func (u *ulpTool) newMessages() *cobra.Command {
	var o processOptions
	cmd := &cobra.Command{
		Use:   "messages -p PID",
		Short: "Print the messages of libpulp.so in a process",
		Long: `
Prints the messages that libpulp.so has written in a process, such as the reason why a live patch
could not be loaded. The process is not stopped. On a terminal, control characters are escaped;
otherwise the bytes are printed as they are.` +
			ulpExitHelp,
		Example: "  lpbuild ulp messages -p 4711",
	}
	o.addPID(cmd)
	return u.processCommand(cmd, func(args []string) error {
		switch {
		case len(args) > 0:
			return said("Too many arguments.")
		case o.process == "":
			return said("process is mandatory in 'messages' command.")
		}
		return nil
	}, func(cmd *cobra.Command, _ []string) error { return u.runMessages(cmd.Context(), &o) })
}

func (u *ulpTool) runMessages(ctx context.Context, o *processOptions) error {
	pid := o.onePID()
	if pid == 0 {
		return quietError{said("messages only accepts PID when passing -p.")}
	}
	data, err := (&engine.Libpulp{}).Messages(ctx, pid)
	if err != nil {
		u.gathering(err)
		return console.Reported(err)
	}
	if u.s.JSON {
		return u.s.PrintJSON(
			map[string][]string{"messages": strings.Split(strings.TrimRight(string(data), "\x00"),
				"\x00")})
	}
	u.s.Finish()
	if console.IsTerminal(u.s.Out) {
		data = []byte(console.PrintableMessages(string(data)))
	}
	_, err = u.s.Out.Write(data)
	return err
}

func (u *ulpTool) newSetPatchable() *cobra.Command {
	var o processOptions
	cmd := &cobra.Command{
		Use:   "set_patchable [-p PROCESS] enable|disable",
		Short: "Enable or disable live patching in processes",
		Long: `
Enables or disables live patching in running processes with libpulp.so. Live patches that are
applied stay applied. Changes are reported on standard error.

EXIT STATUS
  0    success, or processes could not be changed: libpulp's tool does not tell these apart
  1    the argument is neither enable nor disable
  64   wrong usage`,
		Example: "  lpbuild ulp set_patchable -p 4711 disable\n  lpbuild ulp set_patchable -u " +
			"postgres enable",
	}
	o.addSelector(cmd)
	o.addRetries(cmd)
	return u.processCommand(cmd, func(args []string) error {
		switch err := o.checkRetries(); {
		case err != nil:
			return err
		case len(args) == 0:
			return said("passing 'enable' or 'disable' in ARG1 is mandatory in set_patches.")
		case len(args) > 1:
			return said("Too many arguments.")
		}
		return nil
	}, func(cmd *cobra.Command, args []string) error {
		return u.runSetPatchable(cmd.Context(), &o, args[0])
	})
}

func (u *ulpTool) runSetPatchable(ctx context.Context, o *processOptions, word string) error {
	on := strings.EqualFold(word, "enable")
	if !on && word != "disable" {
		return quietError{said("Empty argument. Expected: 'enable' or 'disable'")}
	}
	selector, err := o.selector()
	if err != nil {
		return err
	}
	state := map[bool]string{true: "enabled", false: "disabled"}[on]
	options := engine.Options{Selector: selector, Attempts: o.retries, Workers: o.workers(),
		Timeout: 10 * time.Second}
	err = (&engine.Libpulp{}).SetPatchable(ctx, options, on, func(s *engine.Switched) {
		switch {
		case s.Err != nil && (errors.Is(s.Err, engine.ErrNoEngine) ||
			errors.Is(s.Err, engine.ErrPermission)):
			u.gathering(s.Err)
		case s.Err != nil:
			text, detail := libpulpText(s.Err)
			u.say("Unable to change status of process %d: %s (libpulp in error state).", s.PID,
				text)
			u.debug("%s", detail)
		case s.Changed:
			u.say("Process %s (pid: %d): livepatching is now %s.", console.PrintableLine(s.Name),
				s.PID, state)
		}
	})
	if errors.Is(err, engine.ErrNoProcess) || errors.Is(err, engine.ErrNotProcess) {
		u.gathering(err)
		return nil
	}
	return err
}
