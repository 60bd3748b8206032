// Package native applies live patches to running processes without their help: no preload, no
// agent, and nothing runs in the process but system calls. It lists and reverts them as well.
//
//	container ─ NewPatch ─► Patch ─┐
//	process ─ Look ─► Process ─────┼─ NewView ─► View ─ Plan ─► Plan ─ Run ─► Result
//	                               └─ List ─► AppliedPatch
//
// A change is all or nothing: the functions of all live patches that it applies to one library
// switch at one instant, whatever happens, including SIGKILL of the engine. A change that cannot be
// made leaves the process byte for byte as it was. After the last revert nothing is left of it,
// with two exceptions: pages of mapped files that the engine read are in the process's page tables,
// as if the process had read them, and pages of code that were changed are private copies.
//
// # How
//
// [View.Plan] stops nothing. It finds the library by its build-id in memory, reads the dynamic
// loader's list, and relocates the container for a free range of addresses against the symbols of
// the process, in the loader's order, each bound as the loader would bind it there
// ([rtld.Symbols.Bind]: versions, addresses that the program has taken, numbers). An indirect
// function (IFUNC) is bound to the implementation that its resolver chose when the process started,
// read from the slots that the loader filled. The module number of a thread-local variable is read
// from where glibc tells debuggers to look for it.
//
// [Plan.Run] stops all threads and goes through six phases, which executor draws. Survey checks
// that nothing the plan depends on has changed. Load has one thread map memory, which fill writes
// to from outside (see Loading below). Verify checks again what may have changed. Switch writes the
// detours and the table. Release has a thread unmap memory that is no longer needed while it is
// being let go, without a stop of its own if a CPU is free. All of this is one stop. Only if there
// is much to fill do threads that were running continue in between, to be stopped once more.
//
// If a process cannot be stopped again (one of its threads made a child by vfork in between and
// waits for it), it is left as by an engine that was killed there: with memory that nothing refers
// to, if no thread can unmap it.
//
// Functions do not jump to their replacements but to stubs, which jump to whatever their slot says.
// All slots are in one page, together with the list of applied patches, and one write of that page
// is the switch. Until then a function with a detour runs as it always did. To apply a live patch
// on top of others, or to revert one below others, only changes values in slots.
//
// The table, and a record before each container of what it replaces, are all the state there is.
// They are in the process, so any later run finds them, and a forked child has its own. An engine
// that is killed halfway leaves at most mappings that nothing refers to; the next change unmaps
// them.
//
// A library that dlclose unloads takes its detours with it. If it is loaded again, it is not live
// patched, and List reports that: apply again. The build-ids of the libraries that a plan changes
// or found symbols in are checked again when all threads have stopped.
//
// # Loading
//
// The table and the containers of one library are one region of private memory, found again by what
// stands in it. It can be read and executed, never written; variables have a mapping of their own,
// which cannot be executed. One mmap does it where a container has no variables. Nothing of the
// process is opened for writing but /proc/PID/mem of the address space that is stopped: no
// descriptor or path of the process can lead a write elsewhere.
//
// The memory is anonymous. Where the kernel refuses that (SELinux without execmem: EACCES), or a
// filter does, a memory file is tried next, and then the container's own file, which a security
// policy may permit the process to execute as it does a library. Each way is tried under the stop
// before anything that is in use has changed; if none is permitted, what was mapped is unmapped and
// the process is as it was.
//
// The container's file is mapped if the process finds under its path the file that the engine has
// read, and nobody but root and the engine's user may write to it. The process opens it and maps
// it; the engine compares what is mapped with what it has read (/proc/PID/map_files: that needs
// CAP_CHECKPOINT_RESTORE), and writes all pages of the region, so that none of them is the file's
// any more: it may be overwritten, renamed over and deleted. It must not be truncated as long as a
// process has it mapped. The kernel then takes the pages away from all processes, written or not,
// and they get SIGBUS. That is so with every library, and the reason why this way comes last. The
// tests have a filter that answers as SELinux would.
//
// A process that shares its descriptors with another one (CLONE_FILES) may put something else in
// the place of the file while it is open. Nothing opens that for the engine, and what is mapped
// then is seen before anything is written to it, and unmapped.
//
// These are the system calls that the engines make in a process, and what can prevent them:
//
//	call                   made by                 can fail with          then
//	mmap                   loading                 EAGAIN ENOMEM EPERM …  refused
//	memfd_create,          loading, if anonymous   EMFILE ENFILE EPERM …  refused; never tried if
//	  ftruncate, close     memory is refused                              RLIMIT_FSIZE is too low
//	openat, close          loading, if these are   EACCES EMFILE ENFILE … refused; not tried if
//	                       refused                                        the process sees no file
//	                                                                      or another one
//	munmap                 unmapping               ENOMEM (max_map_count) it stays mapped until a
//	                                                                      later change
//	rt_sigreturn           every way back          -                      -
//	those of dlopen and    libpulp.so, by itself   any                    libpulp.so reports it;
//	  dlclose                                                             nothing was patched
//
// Filters are asked about the calls of dlopen and dlclose first.
//
//	obstacle                   anonymous memory      memory file           container's file
//	RLIMIT_FSIZE               -                     not tried: ftruncate  -
//	                                                   raises SIGXFSZ
//	RLIMIT_AS, max_map_count   ENOMEM: refused       ENOMEM: refused       ENOMEM: refused
//	RLIMIT_DATA                variables: ENOMEM     variables: ENOMEM     variables: ENOMEM
//	RLIMIT_NOFILE              -                     EMFILE: refused       EMFILE: refused
//	RLIMIT_MEMLOCK after       EAGAIN: refused       EAGAIN: refused       EAGAIN: refused
//	  mlockall(MCL_FUTURE)
//	RLIMIT_STACK               tracer.ErrStack: another thread, or refused
//	vm.overcommit_memory=2,    variables: ENOMEM     variables: ENOMEM     variables: ENOMEM
//	  all promised
//	vm.memfd_noexec=1, 2       -                     - (no flag asks for   -
//	                                                   what they forbid)
//	seccomp: kill, trap,       asked before the call is made; next way, or refused (ErrSeccomp)
//	  errno, trace, notify
//	seccomp: log               allowed
//	PR_SET_MDWE                -                     -                     -
//	SELinux without execmem    EACCES: next way      EACCES if its type    - with a library's
//	                                                   says so: next way     label
//	a full memory cgroup       writing a page counts as if the process had touched it: reclaim,
//	                             then the cgroup's OOM killer. It is about ten pages. (Tested in
//	                             the cgroup version that controls the machine's memory.)
//	the engine has no          - (package engine raises limits that a user set for a privileged
//	  CAP_SYS_RESOURCE           process up to their hard limit only)
//
// "-" is no effect. No row raises a signal. A filter that answers to MAP_FIXED_NOREPLACE with a no
// (Chromium's) is asked about the same call without it, which is safe while all threads are
// stopped.
//
// # Former code
//
// A pointer lpbuild_original_NAME of a container leads where a function's slot leads while no live
// patch replaces the function: to the function after the detour or, without NOPs, to the
// instructions in the stub that the detour has replaced. It is the same place for all live patches
// of the function, whatever is applied and reverted meanwhile. The table with its stubs is kept as
// long as a live patch is kept for a thread and replaces such a function.
//
// A function that looks at its return address (dlsym with RTLD_NEXT, dlopen) finds the replacement
// there, which the dynamic loader does not know. Neither place begins with endbr64: Linux does not
// enforce indirect branch tracking in user space. A shadow stack sees calls and returns as with any
// other code.
//
// # What it does not do
//
//   - Containers that need the dynamic loader: [NewPatch] rejects them, and so does the gate of
//     `lpbuild build`, which asks it.
//
//   - Functions without NOPs, unless the live patch or Options say [symtab.EntriesAny] and the
//     replacement is proven safe.
//
//   - Libraries whose code is mapped with MAP_SHARED, as a loader of the program's own may do: what
//     is written there goes into the file, and into every process that maps it. The answer is
//     ErrEntry.
//
//   - Memory is unmapped when no thread runs in it or will return to it, judged by program
//     counters, registers and all words on stacks, including red zones. A pointer to a
//     replacement's static data or function that the process keeps elsewhere (a string constant
//     that was returned and stored, a registered callback) is not seen: revert live patches that
//     hand out such pointers only if their users are gone. Stacks of coroutines that do not run are
//     not seen either. Memory that is kept for a thread is unmapped by any later change, even one
//     that changes nothing else.
//
//   - Exceptions and cancellation do not pass through replacements: see below. Debuggers see frames
//     without names, and backtraces end there.
//
//   - Symbols are found through the dynamic loader's list. Static programs have none, and before
//     glibc 2.35 it does not have link namespaces of their own (dlmopen): a live patch that needs
//     symbols is refused there. A library that is in several namespaces is patched in all of them,
//     each with a table of its own.
//
//   - Libraries that neither the program nor the target needs, only the container: its symbols
//     there are not found, even if the process has loaded them, since nothing would keep it from
//     unloading them.
//
//   - Processes that share their memory without being threads (CLONE_VM), as after vfork:
//     ErrShared, until that is over. It is asked when the change is planned and again, of those
//     that were made since, when all threads are stopped. Where kcmp(2) does not tell, a process is
//     taken to be alone.
//
//   - A thread whose system calls the program handles itself (PR_SET_SYSCALL_USER_DISPATCH, as Wine
//     does) makes none for the engine: without another one nothing is loaded. Kernels before 6.4 do
//     not tell which threads those are.
//
//   - Probes: where a breakpoint stands in bytes that would be changed (a uprobe, a debugger's) the
//     answer is ErrProbe. One that is set on a detour afterwards ends the process, and nobody here
//     can prevent that: the kernel executes the instruction that the function has in its file,
//     which the detour has replaced, and goes on after it, in the middle of the detour. Set uprobes
//     on the live patch's functions, or elsewhere in the function, or revert first.
//
// # Exceptions and cancellation
//
// The unwinder finds its tables through the dynamic loader, which does not know of containers, so
// it stops at the frame of a replacement. The consequences are tested, and apply to all programs
// that use gcc's unwinder:
//
//   - An exception that is thrown and caught below a replacement, or above one, or that is on its
//     way when a destructor calls one, is an exception as any other. One that would pass through a
//     replacement ends in std::terminate.
//   - A thread that is cancelled below a replacement (pthread_cancel, or pthread_exit) ends, and
//     can be joined. Handlers of pthread_cleanup_push in C code that was compiled without
//     -fexceptions run, since they are found without the unwinder: those of the replacement, too.
//     What the unwinder finds (destructors, cleanup attributes, handlers in C++ and in C code that
//     was compiled with -fexceptions) does not run in the frames above the replacement, up to the
//     next handler of the first kind, or the beginning of the thread. Above such a handler
//     everything runs again.
//
// The part of this that can be known beforehand is rejected. [NewPatch], and with it the gate of
// `lpbuild build`, rejects containers that throw, catch, clean up, or end their thread
// ("unwinding"), and those that use C++ functions which may throw ("may-throw"): all but operator
// delete, new (std::nothrow) and std::terminate. [View.Plan] refuses to replace a function that has
// handlers itself, such as the functions of glibc that lock a stream (ErrUnwinding): exceptions or
// cancellation are expected to pass through it, and with a replacement the stream would stay
// locked. The gate knows these functions from the catalogue ("handlers"). If you know that nothing
// passes through a replacement (it keeps its thread from being cancelled, it cleans up by a handler
// in C, nothing that it uses throws), write "unwinding: none" for the live patch: then only
// containers that throw or clean up themselves are rejected.
//
// Some things cannot be known: whether a function that is called through a pointer throws, or one
// in C that calls back, and whether callers of the function have something to clean up. A
// replacement that calls code which may throw, or that runs where threads of a C++ program are
// cancelled, is for libpulp's engine, whose containers the dynamic loader loads.
//
// Everything in a process is untrusted. Its tables and records are read with bounds and checksums,
// and compared with what is mapped, and only memory that is mapped as ours is ever unmapped. A
// process that forges them is left unpatched, or harms itself and those that share its memory; it
// costs others no more than its own time.
//
// Only x86_64 is supported; ppc64le and aarch64 are rejected.
package native
