// Package tracer stops all threads of a process, looks at them, runs system calls or a function in
// one of them, and puts everything back.
//
// The law it keeps: the target outlives the tracer. SIGKILL of the tracing process at any instant
// leaves every thread of the target running and every register right, because before a thread is
// sent anywhere the way back is already there: a sigframe (what rt_sigreturn reads) with the
// general registers, the whole XSAVE state, the signal mask and the restart of an interrupted
// system call. Each step is ordered for that law:
//
//  1. the sigframe is written into memory that is known to be unused, below everything that the
//     first thread's stack was ever used for (see tracee_framearea.go). Nothing below another stack
//     pointer is ever written to: it may be somebody's data. If no such memory is known, no thread
//     is sent anywhere (ErrStack);
//  2. the registers are set, in one call; from here on the thread finds its way back by itself,
//     whatever its signal mask;
//  3. all signals are blocked, so that no handler runs while the thread is away (the sigframe holds
//     the old mask);
//  4. the work runs;
//  5. the old mask is set, then the old registers, in one call.
//
// The kernel detaches a dead tracer's threads. What it does with the stop they stand in matters: a
// signal whose stop was consumed by a wait is lost with the tracer, so stops are looked at with
// WNOWAIT and never consumed; a system call stop turns into a signal, which is an invalid one that
// nobody gets only because PTRACE_O_TRACESYSGOOD is set.
//
// Signals are never held. One that was already on its way when a thread is stopped is handed on at
// once, with the interrupt still pending, so that the thread stops again at its handler's first
// instruction, or dies, or joins a group stop, just as it would have without a tracer. All others
// stay in the kernel's queues.
//
// A system call that was interrupted by the stop is restarted by the kernel on detach, with its
// remaining time. Those few calls that the kernel ends with EINTR for a stop (epoll_wait,
// sigtimedwait, semop, those of a socket with SO_RCVTIMEO or SO_SNDTIMEO, ...) are restarted too,
// unless a handler runs; a finite timeout then starts anew: the kernel does not tell how much of it
// was over. So a loop of stops that are closer together than the timeout would keep it from ever
// ending: stop a process once, and not again at once.
//
// There is no way around it. A thread in such a call cannot be left alone: it would run on, in code
// that is being replaced, as soon as what it waits for happens; and PTRACE_INTERRUPT, as any
// signal, takes it out of the call, which begins again or returns EINTR. The freezer of control
// groups does the same. To shorten the timeout in its registers or memory by what was over would
// take to know when the call began, which the kernel does not tell, and to write to memory that is
// the program's.
//
// That way back is also the shortest: [Tracee.Submit] leaves a thread to it, and only waits until
// its signal mask says that it is back. Nothing else of its excursion is restored then.
//
// What the law does not cover: if the tracer is killed after it has interrupted such a call and
// before it has set the restart, the call ends with EINTR, as after any SIGSTOP and SIGCONT. So may
// a sleep that was interrupted before, if the tracer is killed while the thread is away and the
// code does not tell which call it was.
//
// Nor does it cover a thread whose system calls the program handles itself
// (PR_SET_SYSCALL_USER_DISPATCH), on kernels from 5.11 to 6.3, which do not tell. Since then such a
// thread is not sent anywhere (ErrDispatched).
//
// The package knows nothing of live patches, and it does not look into /proc for libraries:
// addresses are the caller's. No other thread of this process may wait for the target while it is
// traced: Linux would hand it the stops.
package tracer
