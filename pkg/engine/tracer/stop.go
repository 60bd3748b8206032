package tracer

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// stopKind says in what state a wait found a thread.
type stopKind int

const (
	running       stopKind = iota // not stopped (yet)
	stopInterrupt                 // stopped by PTRACE_INTERRUPT
	stopGroup                     // takes part in a group stop
	stopSignaled                  // about to get a signal
	stopSyscall                   // enters or leaves a system call
	stopExec                      // has executed another program
	stopOther                     // any other event
	ended                         // exited or killed
)

// stop is what a wait found.
type stop struct {
	kind   stopKind
	signal int // stopSignaled, stopGroup
}

// peek looks at a thread without consuming what it finds: neither a stop (the signal in it must
// survive this process) nor an exit (which belongs to the parent).
func peek(tid int) stop {
	s, _ := look(tid)
	return s
}

// look is peek; exited says that there is an exit to be waited for.
func look(tid int) (s stop, exited bool) {
	var si siginfo
	const options = unix.WEXITED | unix.WSTOPPED | unix.WNOHANG | unix.WNOWAIT | unix.WALL
	_, _, e := unix.RawSyscall6(unix.SYS_WAITID, unix.P_PID, uintptr(tid),
		uintptr(unsafe.Pointer(&si)), options, 0, 0)
	switch {
	case e != 0:
		return stop{kind: ended}, false // ECHILD: not ours any more
	case si.signo == 0:
		return stop{kind: running}, false
	case si.code < cldTrapped:
		return stop{kind: ended}, true
	}
	return decodeStop(int(si.status)), false
}

// Codes of SIGCHLD: CLD_EXITED, CLD_KILLED and CLD_DUMPED are below CLD_TRAPPED, CLD_STOPPED above.
const cldTrapped = 4

// decodeStop reads a ptrace stop's status: the signal in the low byte, the event above.
func decodeStop(status int) stop {
	sig, event := status&0xff, status>>8&0xff
	switch {
	case event == unix.PTRACE_EVENT_STOP && sig == int(unix.SIGTRAP):
		return stop{kind: stopInterrupt}
	case event == unix.PTRACE_EVENT_STOP:
		return stop{stopGroup, sig}
	case event == unix.PTRACE_EVENT_EXEC:
		return stop{kind: stopExec}
	case event != 0:
		return stop{kind: stopOther}
	case sig == int(unix.SIGTRAP)|0x80:
		return stop{kind: stopSyscall}
	}
	return stop{stopSignaled, sig}
}

// toHandOn is the signal with which a thread goes on from a stop, if nothing is to be kept from it.
func (s stop) toHandOn() uintptr {
	if s.kind == stopSignaled {
		return uintptr(s.signal)
	}
	return 0
}
