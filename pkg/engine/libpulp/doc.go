// Package libpulp speaks to libpulp.so inside a process: the engine for processes that preload it.
//
//	Find ─► Runtime ─ State, Applied, Messages       without stopping anyone
//	             ├─ PlanApply, PlanRevert ... ─► Plan   all that can be decided before a stop
//	             └─ Stop ─► Session ─ Do(Plan), Check, SetPatchable   with all threads stopped
//
// libpulp.so exports its interface as symbols: a buffer for the metadata of a patch, entry points,
// a list of the patches that are applied, an error state, a ring of messages, and a queue of memory
// writes that the caller has to carry out, because the process itself may not be allowed to write
// its code. Versions without the queue write themselves.
//
// The package keeps these rules:
//
//   - All or nothing. A patch is applied only if each of its functions can be switched. libpulp.so
//     itself finds out halfway, and then rejects everything for the rest of the process's life. If
//     it rejects a patch despite the plan, its records are restored, and no byte of code has been
//     written.
//   - Before a request of libpulp.so is carried out, it is compared byte for byte with what the
//     patch is entitled to: the entries of the functions that the patch names, in its target, and
//     the patch's own variables. See [ErrRefused].
//   - The process outlives the engine. If the engine is killed during the call, the function
//     finishes and the thread goes on. If it is killed between the call and the last write, some
//     functions run the former code and others the new code, each of them wholly; the queue in the
//     process still lists the missing writes, and the next Session.Do completes them first. See
//     [State.Pending].
//   - After the last revert of a function its code is as it was. libpulp.so leaves a jump in the
//     NOPs before the function; they are restored where the library's own list shows that they were
//     there (padding.go).
//   - Everything in the process's memory is untrusted: it is bounded, checked for cycles, and never
//     followed to a file that could block. See [Runtime.Comments].
//
// The package does not choose processes, retry or wait: see package engine.
package libpulp
