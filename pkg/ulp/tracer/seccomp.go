package tracer

import "strconv"

// Seccomp is how a thread's system calls are filtered.
type Seccomp int

// The modes as the kernel counts them.
const (
	SeccompNone   Seccomp = 0 // not filtered
	SeccompStrict Seccomp = 1 // read, write, exit, rt_sigreturn; anything else kills
	SeccompFilter Seccomp = 2 // by a program whose contents cannot be seen: it may allow, deny, raise SIGSYS, or kill
)

// Seccomp returns how th's system calls are filtered.
func (t *Tracee) Seccomp(th *Thread) (Seccomp, error) {
	status := map[string]string{"Seccomp": ""}
	if err := taskStatus(t.pid, th.TID, status); err != nil {
		return 0, t.fail("reading its status", th.TID, ErrGone)
	}
	mode, _ := strconv.Atoi(status["Seccomp"]) // no such line: a kernel without seccomp
	return Seccomp(mode), nil
}
