package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/internal/lazyregexp"
)

// The flags that "cflags" accepts. A package may come from somebody else, and compilers have many
// options that run programs (plugins, specs, wrappers) or write files (dumps, maps, dependencies),
// under several names each. So there is a list of those that are known to change nothing but the
// code that is made.

// plainFlags matches flags that are complete in themselves, and name no file.
var plainFlags = lazyregexp.New(`^(?:` + strings.Join([]string{
	`-O(?:[0-3sgz]|fast)?`,
	`-g(?:[0-3]|gdb[0-3]?|dwarf(?:-[2-5])?|no-[a-z-]+|-?z(?:=[a-z]+)?|column-info|` +
		`statement-frontiers|variable-location-views)?`,
	`-(?:ansi|pedantic|pedantic-errors|w|pipe|pthread|s|rdynamic|nostdinc|nostdlib|nodefaultlibs|` +
		`nostartfiles|static-libgcc|shared-libgcc|undef|traditional-cpp)`,
	`-std=[a-z0-9+:]+`,
	`-W(?:no-)?[a-z][a-z0-9+-]*(?:=[A-Za-z0-9_,.()*-]+)?`, // -Wl,… and the like have a comma
	`-[DU][A-Za-z_][A-Za-z0-9_]*(?:\([^)]*\))?(?:=.*)?`,
	`-l[A-Za-z0-9_][A-Za-z0-9_.+-]*`,
	`-x(?:c|c\+\+|assembler|assembler-with-cpp|none)`,
	`-m[a-z0-9][a-z0-9.-]*(?:=[A-Za-z0-9_+,.=-]+)?`,
	`-f(?:no-)?[a-z][a-z0-9+-]*`,
	`-f(?:visibility|patchable-function-entry|cf-protection|ffp-contract|fp-contract|tls-model|` +
		`macro-prefix-map|file-prefix-map|debug-prefix-map` +
		`|align-[a-z]+|max-errors|message-length|diagnostics-[a-z-]+|inline-limit|abi-version|` +
		`stack-clash-protection|zero-call-used-regs` +
		`|lto|lto-compression-level|lto-partition|constexpr-[a-z-]+|template-depth|` +
		`excess-precision|trivial-auto-var-init|strict-flex-arrays` +
		`|sanitize|no-sanitize|input-charset|exec-charset|tabstop|ivar-visibility|` +
		`vect-cost-model|simd-cost-model|random-seed)=[A-Za-z0-9_+:,./=-]*`,
}, "|") + `)$`)

// writingFlags are beginnings of flags that look plain, and have the compiler run or write more.
var writingFlags = []string{"-fplugin", "-fdump", "-fsave-", "-fstack-usage", "-fcallgraph-info",
	"-fprofile", "-fauto-profile", "-ftest-coverage", "-fbranch-probabilities", "-fcompare-debug",
	"-fopt-info", "-frepo", "-fmodule", "-fada-spec", "-fgo-", "-fpch", "-fworking-directory-",
	"-fdiagnostics-format", "-fdiagnostics-add-output", "-fdiagnostics-set-output", "-fwpa",
	"-fltrans", "-fuse-linker-plugin", "-gsplit-dwarf", "-fuse-ld", "-foffload", "-fself-test",
	"-fpreprocessed", "-fdirectives-only"}

// pathFlags take a directory or a file of the package, or one of the system's below /usr, in the
// same word or in the next one.
var pathFlags = []string{"-isystem", "-iquote", "-idirafter", "-include", "-imacros", "-I", "-L"}

// wordFlags take a word that is no path from the next element.
var wordFlags = []string{"-D", "-U", "-l", "-x"}

// linkerFlags matches what the linker may be told by -Wl, word by word.
var linkerFlags = lazyregexp.New(`^(?:` + strings.Join([]string{
	`-z`, `-u`, `-h`, `-soname`, `-rpath`, // each with the next word
	`--?(?:no-)?(?:as-needed|gc-sections|undefined|undefined-version|allow-shlib-undefined|` +
		`export-dynamic|relax|copy-dt-needed-entries|eh-frame-hdr|warn-[a-z-]+|fatal-warnings|` +
		`demangle)`,
	`--(?:enable|disable)-new-dtags`,
	`-Bsymbolic(?:-functions)?`, `-Bsymbolic-non-weak(?:-functions)?`, `-Bgroup`,
	`--hash-style=[a-z]+`, `--build-id(?:=[a-z0-9]+)?`, `--compress-debug-sections=[a-z-]+`,
	`--sort-[a-z]+(?:=[a-z]+)?`, `--icf=[a-z]+`,
	`--(?:wrap|defsym|undefined|exclude-libs|require-defined)=[A-Za-z0-9_.=+:@$-]+`,
	`-[sxX]`, `-l[A-Za-z0-9_][A-Za-z0-9_.+-]*`, `-O[0-9]?`, `--?(?:soname|rpath)=.*`,
}, "|") + `)$`)

// assemblerFlags matches what the assembler may be told by -Wa, word by word.
var assemblerFlags = lazyregexp.New(`^(?:--(?:no)?execstack|--(?:no-)?warn|-W|--fatal-warnings|` +
	`--divide|-m[a-z0-9-]+(?:=[a-z0-9+.]+)?|--gdwarf-[2-5]|-g)$`)

// flagChecker checks a list of flags, one after the other.
type flagChecker struct {
	argument string // the flag whose argument comes next
}

// check says what is wrong with the next element.
func (c *flagChecker) check(s string) error {
	flag := c.argument
	c.argument = ""
	switch {
	case s == "":
		return isNotEmpty(s)
	case slices.Contains(pathFlags, flag):
		return isPathOf(flag, s)
	case flag != "":
		return isPlain(flag + s)
	case strings.HasPrefix(s, "@"):
		return fmt.Errorf("%q: response files are not supported", s)
	case slices.Contains(pathFlags, s) || slices.Contains(wordFlags, s):
		c.argument = s
		return nil
	}
	for _, flag := range pathFlags {
		if path, ok := strings.CutPrefix(s, flag); ok {
			return isPathOf(flag, path)
		}
	}
	if tool, words, ok := strings.Cut(s, ","); ok && (tool == "-Wl" || tool == "-Wa" ||
		tool == "-Wp") {
		return areWords(s, tool, strings.Split(words, ","))
	}
	return isPlain(s)
}

// end says what is wrong with a list that ends here.
func (c *flagChecker) end() error {
	if c.argument != "" {
		return fmt.Errorf("%q: what belongs to it is missing", c.argument)
	}
	return nil
}

// isPathOf accepts files and directories of the package, and those of the system that a source
// package need not have.
func isPathOf(flag, path string) error {
	if !filepath.IsLocal(path) && !strings.HasPrefix(filepath.Clean(path), "/usr/") {
		return fmt.Errorf("%q: %s is outside the package directory: the source package would "+
			"lack it",
			flag, path)
	}
	return nil
}

func isPlain(s string) error {
	writes := slices.ContainsFunc(writingFlags, func(beginning string) bool {
		return strings.HasPrefix(strings.Replace(s, "-fno-", "-f", 1), beginning)
	})
	switch {
	case writes || !plainFlags().MatchString(s):
		return notAllowed(s)
	case strings.HasPrefix(s, "-m") && strings.HasSuffix(s, "=native"):
		return fmt.Errorf("%q: the live patch would need the CPU of the machine that builds it: "+
			"name one that all customers have", s)
	}
	return nil
}

func notAllowed(s string) error {
	return fmt.Errorf("%q is not a flag that a package may use: some flags let the compiler run "+
		"or write something else, so only those are accepted that are known not to (-O, -g, "+
		"-std=, -W, -D, -U, -f, -m, -l, and -I, -L and -include below the package directory or "+
		"/usr)", s)
}

// areWords checks what is passed on to another tool.
func areWords(s, tool string, words []string) error {
	argument := false
	for _, w := range words {
		script, isScript := strings.CutPrefix(strings.TrimPrefix(w, "-"), "-version-script=")
		if !isScript {
			script, isScript = strings.CutPrefix(strings.TrimPrefix(w, "-"), "-dynamic-list=")
		}
		switch {
		case strings.HasPrefix(w, "@"):
			return fmt.Errorf("%q: response files are not supported", s)
		case argument:
			argument = false
			if strings.HasPrefix(w, "-") {
				return notAllowed(s)
			}
		case tool == "-Wl" && isScript:
			if err := isPathOf(s, script); err != nil {
				return err
			}
		case tool == "-Wl" && linkerFlags().MatchString(w), tool == "-Wa" &&
			assemblerFlags().MatchString(w):
			argument = tool == "-Wl" &&
				slices.Contains([]string{"-z", "-u", "-h", "-soname", "-rpath"}, w)
		case tool == "-Wp" && (strings.HasPrefix(w, "-D") || strings.HasPrefix(w, "-U")) &&
			isPlain(w) == nil:
		default:
			return notAllowed(s)
		}
	}
	if argument { // it would be something of the compiler's
		return notAllowed(s)
	}
	return nil
}
