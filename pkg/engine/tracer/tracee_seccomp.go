package tracer

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Seccomp returns how th's system calls are filtered.
func (t *Tracee) Seccomp(th *Thread) (Seccomp, error) {
	s, err := t.stateOf(th)
	return s.seccomp, t.fail("reading its status", th.TID, err)
}

// Allowed reports whether th's filters let it make all of the calls, as far as they can be read:
// that needs CAP_SYS_ADMIN. Otherwise the error is ErrSeccomp. With SuspendSeccomp everything is
// allowed.
func (t *Tracee) Allowed(th *Thread, calls ...Call) error {
	return t.Do(func() error {
		mode, err := t.Seccomp(th)
		switch {
		case err != nil || t.o.SuspendSeccomp || mode == SeccompNone:
			return err
		case mode != SeccompFilter:
			return t.fail("strict mode", th.TID, ErrSeccomp)
		}
		filters, err := filtersOf(th.TID)
		if err != nil {
			return t.fail("reading the filter", th.TID, errors.Join(ErrSeccomp, ErrFilter, err))
		}
		for _, c := range calls {
			if a := judge(filters, c, t.o.Gadgets); a != unix.SECCOMP_RET_ALLOW &&
				a != unix.SECCOMP_RET_LOG {
				return t.fail(callName(c.Nr), th.TID, ErrSeccomp)
			}
		}
		return nil
	})
}

// allowed looks whether the thread's filters let it come back, and do not kill it for one of the
// calls. What a called function does is not known; that is its caller's to know.
func (t *Tracee) allowed(th *Thread, calls []Call) error {
	if t.o.SuspendSeccomp {
		return nil
	}
	mode, err := t.Seccomp(th)
	switch {
	case err != nil || mode == SeccompNone:
		return err
	case mode != SeccompFilter:
		return fmt.Errorf("strict mode: %w", ErrSeccomp)
	}
	filters, err := filtersOf(th.TID)
	if err != nil {
		if t.o.TrustSeccomp {
			return nil
		}
		return fmt.Errorf("%w: %w: %w", ErrFilter, err, ErrSeccomp)
	}
	if a := judge(filters, Call{Nr: sysSigreturn}, t.o.Gadgets); a != unix.SECCOMP_RET_ALLOW &&
		a != unix.SECCOMP_RET_LOG {
		return fmt.Errorf("rt_sigreturn: %w", ErrSeccomp)
	}
	for _, c := range calls {
		switch judge(filters, c, t.o.Gadgets) {
		case unix.SECCOMP_RET_KILL_PROCESS, unix.SECCOMP_RET_KILL_THREAD:
			return fmt.Errorf("%s: %w", callName(c.Nr), ErrSeccomp)
		}
	}
	return nil
}
