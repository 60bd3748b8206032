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
// The laws:
//
//   - All or nothing. A patch is applied only if each of its functions can be switched; libpulp.so
//     itself finds out half-way, and then refuses everything for the rest of the process's life. If
//     it says no in spite of the plan, its records are taken back, and no byte of code has been
//     written.
//   - What libpulp.so asks for is compared with what the patch is entitled to, byte for byte,
//     before any of it is obeyed: the entries of the functions that the patch names, in its target,
//     and its own variables. See [ErrRefused].
//   - The process outlives the engine. Killed during the call, the function finishes and the thread
//     goes on. Killed between the call and the last write, some functions run the former code, the
//     others the new one, each of them wholly; the queue in the process still says what is missing,
//     and the next Session.Do finishes it first. See [State.Pending].
//   - After the last revert of a function its code is as it was: libpulp.so leaves a jump in the
//     NOPs before it, which are put back where the library's own list says that they were there
//     (padding.go).
//   - Everything in the process's memory is its own word: bounded, checked for cycles, never
//     followed to a file that could block, see [Runtime.Comments].
//
// The package does not choose processes, retry or wait: see package engine.
package libpulp
