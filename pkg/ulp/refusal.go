package ulp

import "errors"

// Why a live patch cannot work: the reasons that [Check], [NewMetadata] and [Pack] give in
// Diagnostic.Err. Ask for them with [errors.Is].
var (
	// ErrNothing: the description replaces no function, so that applying it would change nothing.
	ErrNothing = errors.New("replaces no function")
	// ErrNoSymbol: a function or variable is in no symbol table of the file that should define it.
	ErrNoSymbol = errors.New("no such symbol")
	// ErrAmbiguous: a name stands for several places of the file, for instance old and new symbol
	// versions of one function or static variables of several source files.
	ErrAmbiguous = errors.New("ambiguous symbol")
	// ErrNotFunction: the symbol is not a function.
	ErrNotFunction = errors.New("not a function")
	// ErrIFUNC: the symbol is an indirect function, whose code only chooses the implementation at
	// program start.
	ErrIFUNC = errors.New("indirect function")
	// ErrClone: the compiler made copies or parts of a replaced function that are not replaced, so
	// that callers of these still run the old code.
	ErrClone = errors.New("copies of the function are not replaced")
	// ErrNotPatchable: the function lacks the NOPs at its entry, or the whole library does.
	ErrNotPatchable = errors.New("not patchable")
	// ErrRegisters: a caller in the library relies on registers that the function happens to leave
	// alone (GCC's -fipa-ra).
	ErrRegisters = errors.New("a caller relies on registers")
	// ErrDuplicate: the same function is replaced twice, or the same pointer set twice.
	ErrDuplicate = errors.New("named twice")
	// ErrNotExported: the replacement is in the container, but the dynamic linker cannot find it
	// there.
	ErrNotExported = errors.New("not exported")
	// ErrReference: the pointer of a reference cannot take an address: its size, type or place is
	// wrong, or it is not where the description says.
	ErrReference = errors.New("unusable reference")
	// ErrOriginal: a pointer to the former code of a function (lpbuild_original_NAME) cannot be
	// filled.
	ErrOriginal = errors.New("former code cannot be called")
	// ErrTLS: a reference to a thread-local variable lacks the "%", or one to another variable has
	// it.
	ErrTLS = errors.New("thread-local mismatch")
	// ErrNoBuildID: the container or the target has no build-id of 20 bytes.
	ErrNoBuildID = errors.New("no build-id")
	// ErrArch: the container and the target are for different architectures.
	ErrArch = errors.New("architecture mismatch")
	// ErrTarget: the library is not the one that the description names, or an expansion makes a
	// target that is no path.
	ErrTarget = errors.New("other target")
	// ErrTooLarge: the metadata is larger than the buffer that libpulp.so has for it.
	ErrTooLarge = errors.New("metadata too large")
)

// Why a template has no meaning for a build: the reasons that [Description.Expand] gives in
// Diagnostic.Err.
var (
	// ErrPlaceholder: a placeholder is not known, or has no value for this build.
	ErrPlaceholder = errors.New("placeholder without a value")
	// ErrPattern: a pattern is malformed, or there are too many of them.
	ErrPattern = errors.New("bad pattern")
	// ErrNoMatch: no function of the library matches the pattern.
	ErrNoMatch = errors.New("pattern without a match")
	// ErrContainerName: the name of the container that comes out is not one for a file of a
	// package.
	ErrContainerName = errors.New("bad container name")
)
