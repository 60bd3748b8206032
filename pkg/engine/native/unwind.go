package native

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"strings"

	"github.com/lpbuild/lpbuild/internal/elfx"
	"github.com/lpbuild/lpbuild/internal/hotpatch"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// The unwinder does not find containers, see the package's documentation: nothing may be unwound
// through a replacement. What can be known of that is checked here. Of the container: that nothing
// in it throws, catches or cleans up, and that it calls nothing that is known to throw. Of the
// function that is replaced: that it did not handle what passes through.

// unwinding are functions that only code with exceptions, handlers or cleanups calls, and those
// that unwind.
var unwinding = map[string]bool{
	"__gxx_personality_v0": true, "__gcc_personality_v0": true, "__cxa_throw": true,
	"__cxa_rethrow":     true,
	"__cxa_begin_catch": true, "__cxa_bad_cast": true, "__cxa_bad_typeid": true,
	"__cxa_throw_bad_array_new_length": true,
	"_Unwind_Resume":                   true, "_Unwind_RaiseException": true,
	"_Unwind_ForcedUnwind": true, "_Unwind_Resume_or_Rethrow": true,
	"pthread_exit": true, "thrd_exit": true,
}

// checkUnwinding returns why a container needs the unwinder.
func checkUnwinding(f *elfx.File, im *image, symbols []symbol,
	says ulp.Unwinding) ([]error, error) {
	var errs []error
	var throwing []string
	for _, s := range symbols {
		switch {
		case unwinding[s.name]:
			errs = append(errs, &ContainerError{"unwinding",
				fmt.Sprintf("it uses %q, but exceptions and cleanups need the dynamic loader",
					s.name), "write the replacement without exceptions, and without cleanup " +
					"attributes"})
		case !s.defined && s.mayThrow() && says != ulp.UnwindingNone:
			throwing = append(throwing, s.name)
		}
	}
	if len(throwing) > 0 {
		errs = append(errs, &ContainerError{"may-throw", fmt.Sprintf("it uses C++ functions that "+
			"may throw (%s), and an exception that reaches its frames ends the "+
			"process", someOf(throwing)),
			"use what cannot throw, as C functions and new (std::nothrow); or if none of them " +
				"throws say \"unwinding: none\" for this patch in lpbuild.yaml"})
	}
	if len(errs) > 0 {
		return errs, nil
	}
	frames, err := im.frames(f)
	if err == nil && errors.Is(frames.AnyHandlers(), hotpatch.ErrHandlers) {
		errs = append(errs, &ContainerError{"unwinding", "it has handlers of exceptions or " +
			"cleanups, which need the dynamic loader",
			"write the replacement without exceptions, and without cleanup attributes"})
	}
	return errs, err
}

// someOf returns the first of some names, and how many more there are.
func someOf(names []string) string {
	const most = 3
	list := fmt.Sprintf("%.100q", names[:min(most, len(names))])
	list = strings.ReplaceAll(strings.Trim(list, "[]"), `" "`, `", "`)
	if n := len(names) - most; n > 0 {
		list += fmt.Sprintf(" and %d more", n)
	}
	return list
}

// mayThrow reports whether a symbol is a C++ function that is not known not to throw.
func (s *symbol) mayThrow() bool {
	name, ok := strings.CutPrefix(s.name, "_Z")
	if !ok || s.kind == elf.STT_OBJECT || s.kind == elf.STT_TLS {
		return false
	}
	for _, never := range []string{"dl", "da", "St9terminatev"} { // operators delete
		if strings.HasPrefix(name, never) {
			return false
		}
	}
	if (strings.HasPrefix(name, "nw") || strings.HasPrefix(name, "na")) &&
		strings.HasSuffix(name, "RKSt9nothrow_t") {
		return false
	}
	return !isVariable(name)
}

// isVariable reports whether a mangled name, after _Z, is one of data: it has no parameters. Names
// of which that is not obvious are taken for functions'.
func isVariable(name string) bool {
	for _, special := range []string{"TV", "TT", "TI", "TS", "GV"} {
		// tables and types that compilers make
		if strings.HasPrefix(name, special) {
			return true
		}
	}
	rest, nested := strings.CutPrefix(name, "N")
	parts := 0
	for ; rest != "" && rest != "E"; parts++ {
		r, ok := cutPart(rest)
		if !ok {
			return false
		}
		rest = r
	}
	return parts > 0 && (rest == "E") == nested
}

// cutPart cuts a part of a qualified name off: a number and so many characters, or an abbreviation.
func cutPart(s string) (rest string, ok bool) {
	s = strings.TrimPrefix(s, "L")
	if rest, ok := strings.CutPrefix(s, "St"); ok {
		return rest, true
	}
	n, i := 0, 0
	for ; i < len(s) && s[i] >= '0' && s[i] <= '9' && n < len(s); i++ {
		n = 10*n + int(s[i]-'0')
	}
	if n == 0 || n > len(s)-i {
		return "", false
	}
	return s[i+n:], true
}

// Contains and Read make an image the memory that package hotpatch reads.
func (im *image) Contains(addr, size uint64) bool { return im.bytes(addr, size) != nil }

func (im *image) Read(b []byte, addr uint64) error {
	copy(b, im.bytes(addr, uint64(len(b))))
	return nil
}

// frames reads the container's unwind information; it is empty if there is none.
func (im *image) frames(f *elfx.File) (*hotpatch.Frames, error) {
	var s elfx.Segment
	if p := f.Segment(elf.PT_GNU_EH_FRAME); p != nil {
		s = *p
	}
	return hotpatch.ReadFrames(im, s.Vaddr, s.Memsz)
}

// loaded is a library in a process, for package hotpatch.
type loaded struct {
	*rtld.Library
	read func(b []byte, addr uint64) error
}

func (l loaded) Read(b []byte, addr uint64) error { return l.read(b, addr) }

// frames reads a library's unwind information, once; it is empty if there is none.
func (v *view) frames(ctx context.Context, l *rtld.Library) (*hotpatch.Frames, error) {
	if f := v.unwind[l]; f != nil {
		return f, nil
	}
	at, size := l.UnwindTable()
	m := memory(v.m)
	if f, ok := v.m.(*process.File); ok {
		// handlers are listed where processes may write, and do not
		m = f.Whole()
	}
	f, err := hotpatch.ReadFrames(loaded{l, func(b []byte, addr uint64) error {
		_, err := m.ReadAt(ctx, b, addr)
		return err
	}}, at, size)
	if err == nil {
		v.unwind[l] = f
	}
	return f, err
}

// checkHandlers returns ErrUnwinding if a function of a library handles what its replacement would
// not let through.
func (v *view) checkHandlers(ctx context.Context, l *rtld.Library, entry uint64) error {
	err := v.handlers(ctx, l, entry)
	if errors.Is(err, hotpatch.ErrFrame) { // or is it that the library is just being mapped?
		if _, _, err := v.loaded.Find(ctx, l); err != nil {
			return err
		}
	}
	if errors.Is(err, hotpatch.ErrFrame) || errors.Is(err, hotpatch.ErrHandlers) {
		return fmt.Errorf("%w: %w", err, ErrUnwinding)
	}
	return err
}

// handlers is [hotpatch.Frames.Handlers] of a function.
func (v *view) handlers(ctx context.Context, l *rtld.Library, entry uint64) error {
	k, err := v.known(ctx, l)
	if err != nil {
		return err
	}
	if k != nil {
		if err, ok := k.handles(ctx, entry-l.Bias); ok {
			return err
		}
	}
	f, err := v.frames(ctx, l)
	if err != nil {
		return err
	}
	return f.Handlers(entry)
}
