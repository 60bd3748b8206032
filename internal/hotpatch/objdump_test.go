package hotpatch

import (
	"bufio"
	"bytes"
	"debug/elf"
	"fmt"

	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// What the decoder says is compared with objdump, instruction by instruction: the length, the
// target of a branch, and what kind of instruction it is. An instruction that the decoder refuses
// is counted, by the reason.

// decodeVariable makes the comparisons run: all libraries of a machine are a lot of code.
const decodeVariable = "LPBUILD_TEST_DECODE"

// tally counts what was compared.
type tally struct {
	sync.Mutex
	compared, disagreeing int
	refused               map[string]int // by reason
	quirks                map[string]int // where objdump does not say what the bytes are
	examples              []string
	perQuirk              map[string][]string
}

func newTally() *tally {
	return &tally{refused: map[string]int{}, quirks: map[string]int{},
		perQuirk: map[string][]string{}}
}

func (c *tally) quirk(what, example string) {
	if c.quirks[what]++; len(c.perQuirk[what]) < 8 {
		c.perQuirk[what] = append(c.perQuirk[what], example)
	}
}

// add adds what others have counted.
func (c *tally) add(o *tally) {
	c.Lock()
	defer c.Unlock()
	c.compared += o.compared
	c.disagreeing += o.disagreeing
	for why, n := range o.refused {
		c.refused[why] += n
	}
	for what, n := range o.quirks {
		c.quirks[what] += n
		c.perQuirk[what] = append(c.perQuirk[what], o.perQuirk[what]...)
	}
	c.examples = append(c.examples, o.examples...)
}

func (c *tally) report(t *testing.T) {
	t.Helper()
	t.Logf("compared %d, disagreeing %d", c.compared, c.disagreeing)
	for _, why := range slices.Sorted(maps.Keys(c.refused)) {
		t.Logf("refused %d: %s", c.refused[why], why)
	}
	for _, what := range slices.Sorted(maps.Keys(c.quirks)) {
		t.Logf("objdump %d: %s: %.300q", c.quirks[what], what,
			c.perQuirk[what][:min(3, len(c.perQuirk[what]))])
	}
	for _, e := range c.examples[:min(60, len(c.examples))] {
		t.Error(e)
	}
	if c.disagreeing != 0 || c.compared == 0 {
		t.Errorf("disagreeing: %d of %d", c.disagreeing, c.compared)
	}
}

// listed is an instruction as objdump lists it.
type listed struct {
	addr  uint64
	text  string
	begin bool // at a symbol, where objdump begins anew
}

// prefixes are names that objdump puts before a mnemonic.
var prefixes = map[string]bool{"bnd": true, "notrack": true, "rep": true, "repz": true,
	"repnz": true, "lock": true, "data16": true, "addr32": true, "cs": true, "ds": true, "es": true,
	"fs": true, "gs": true, "ss": true, "xacquire": true, "xrelease": true}

// words returns the mnemonic and the operands of a line; mnemonic "" if it is nothing but prefixes.
func (l listed) words() (mnemonic, operands string) {
	rest := l.text
	for {
		word, after, _ := strings.Cut(strings.TrimLeft(rest, " \t"), " ")
		if !prefixes[word] && !strings.HasPrefix(word, "rex") && word != "{evex}" &&
			word != "{vex}" {
			mnemonic, _, _ = strings.Cut(word, ",") // jne,pn
			return mnemonic, strings.TrimLeft(after, " ")
		}
		rest = after
	}
}

// flowOf is what the line says of where the processor goes on.
func flowOf(mnemonic, operands string) (f flow, target uint64, ok bool) {
	number, _, _ := strings.Cut(operands, " ")
	target, err := strconv.ParseUint(strings.TrimPrefix(number, "0x"), 16, 64)
	if err == nil && operands != "" && (mnemonic[0] == 'j' || strings.HasPrefix(mnemonic, "call") ||
		strings.HasPrefix(mnemonic, "loop") || strings.HasPrefix(mnemonic, "xbegin")) {
		switch {
		case strings.HasPrefix(mnemonic, "call"):
			return call, target, true
		case strings.HasPrefix(mnemonic, "jmp"):
			return jump, target, true
		}
		return branch, target, true
	}
	switch strings.TrimRight(mnemonic, "wlq") {
	case "jmp", "ljmp", "rex.Wljmp":
		return jumpAnywhere, 0, true
	case "ca", "ca,", "lca":
		return callAnywhere, 0, true
	case "ret", "lret", "iret":
		return leave, 0, true
	case "int3", "int", "int1", "icebp", "hlt", "ud2", "ud1":
		return trap, 0, true
	case "sysca", "sysenter", "sysexit", "sysret":
		return system, 0, true
	}
	return next, 0, true
}

// compare compares one instruction. code begins with it, and size is its length for objdump.
func (c *tally) compare(where string, code []byte, l listed, size int) {
	in, why := decode(code, 0)
	if why != "" {
		c.refused[why]++
		return
	}
	mnemonic, operands := l.words()
	switch {
	case mnemonic == ".byte", size < in.size && code[0] != 0x9b && mnemonic == "":
		c.quirk("it cuts an instruction off at a symbol, or names a prefix alone",
			fmt.Sprintf("% x %s", code[:in.size], l.text))
		return
	case mnemonic == "" && code[0] == 0x9b:
		c.quirk("it names fwait after what follows it",
			fmt.Sprintf("% x %s", code[:in.size], l.text))
		return
	case strings.Contains(l.text, "(bad)") && isVector(code):
		c.quirk("it finds VEX or EVEX with fields that make an exception",
			fmt.Sprintf("% x %s", code[:in.size], l.text))
		return
	}
	for waits := 1; code[waits-1] == 0x9b && size > waits; waits++ { // fstcw is fwait and fnstcw
		if in, why = decode(code[waits:], 0); why != "" {
			c.refused[why]++
			return
		}
		in.size += waits
		c.quirk("it takes fwait for a part of the next instruction", l.text)
	}
	c.compared++
	f, target, _ := flowOf(mnemonic, operands)
	ours := uint64(0)
	if in.leads() {
		ours = l.addr + uint64(int64(in.target))
	}
	if in.size != size || in.flow != f || ours != target ||
		(in.rip != 0) != strings.Contains(l.text, "(%rip)") {
		c.disagreeing++
		c.examples = append(c.examples, fmt.Sprintf("%s: % x: size %d flow %d target %#x rip %d; "+
			"objdump: size %d flow %d target %#x %q",
			where, code[:min(len(code), 15)], in.size, in.flow, ours, in.rip, size, f, target,
			l.text))
	}
}

// isVector reports whether an instruction has VEX or EVEX.
func isVector(code []byte) bool {
	var p legacy
	for p.add(code[0]) {
		code = code[1:]
	}
	return code[0] == 0xc4 || code[0] == 0xc5 || code[0] == 0x62
}

// disassemble calls yield for each line with an instruction that objdump prints, and its address.
func disassemble(yield func(listed), args ...string) error {
	cmd := exec.Command("objdump", append([]string{"-w", "-z", "--no-show-raw-insn"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	begin := false
	s := bufio.NewScanner(out)
	s.Buffer(make([]byte, 1<<20), 1<<20)
	for s.Scan() {
		number, text, ok := bytes.Cut(s.Bytes(), []byte(":\t"))
		if !ok {
			begin = begin || bytes.HasSuffix(s.Bytes(), []byte(">:"))
			continue
		}
		addr, err := strconv.ParseUint(string(bytes.TrimSpace(number)), 16, 64)
		if err != nil {
			continue
		}
		if i := bytes.IndexByte(text, '#'); i > 0 {
			text = text[:i]
		}
		yield(listed{addr, string(bytes.TrimSpace(text)), begin})
		begin = false
	}
	if err := s.Err(); err != nil {
		return err
	}
	return cmd.Wait()
}

// section is an executable one.
type section struct {
	addr uint64
	data []byte
}

// compareLibrary compares all executable sections of a library.
func compareLibrary(path string) (*tally, error) {
	c := newTally()
	f, err := elf.Open(path)
	if err != nil || f.Machine != elf.EM_X86_64 {
		return c, nil // not one
	}
	defer f.Close()
	var sections []section
	args := []string{"-D"} // with -d it would print data symbols as data, wherever they are
	for _, s := range f.Sections {
		if s.Flags&elf.SHF_EXECINSTR == 0 || s.Type != elf.SHT_PROGBITS {
			continue
		}
		data, err := s.Data()
		if err != nil {
			return c, err
		}
		sections = append(sections, section{s.Addr, data})
		args = append(args, "-j", s.Name)
	}
	if len(sections) == 0 {
		return c, nil
	}
	var now section
	var last listed
	end := func(next listed) { // of the last instruction
		if last.text == "" {
			return
		}
		if next.addr <= last.addr || next.addr-now.addr > uint64(len(now.data)) {
			next.addr = now.addr + uint64(len(now.data))
		}
		code, size := now.data[last.addr-now.addr:], int(next.addr-last.addr)
		if in, why := decode(code, 0); next.begin && why == "" && in.size > size {
			c.quirk("it cuts an instruction off at a symbol", fmt.Sprintf("% x", code[:in.size]))
			return
		}
		c.compare(path, code, last, size)
	}
	err = disassemble(func(l listed) {
		end(l)
		if l.addr-now.addr >= uint64(len(now.data)) {
			i := slices.IndexFunc(sections, func(s section) bool {
				return l.addr-s.addr < uint64(len(s.data))
			})
			if i < 0 {
				last = listed{}
				return
			}
			now = sections[i]
		}
		last = l
	}, append(args, path)...)
	end(listed{})
	return c, err
}

// TestDecodeLibraries compares all libraries of the machine.
func TestDecodeLibraries(t *testing.T) {
	if os.Getenv(decodeVariable) == "" {
		t.Skip("`make test-decode` runs it: it takes minutes")
	}
	paths := libraries(t)
	all, work := newTally(), make(chan string)
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() {
			for path := range work {
				c, err := compareLibrary(path)
				if err != nil {
					t.Errorf("%s: %v", path, err)
				}
				all.add(c)
			}
		})
	}
	for _, path := range paths {
		work <- path
	}
	close(work)
	wait.Wait()
	t.Logf("%d libraries", len(paths))
	all.report(t)
}

// libraries returns the machine's libraries: each file once, whatever its names.
func libraries(t *testing.T) []string {
	t.Helper()
	seen := map[string]bool{}
	var list []string
	dirs := strings.Fields(os.Getenv("LPBUILD_DECODE_DIRS"))
	if len(dirs) == 0 {
		dirs = []string{"/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/lib64", "/lib"}
	}
	for _, dir := range dirs {
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || !strings.Contains(d.Name(), ".so") {
				return nil
			}
			info, err := os.Stat(path)
			if err != nil || info.Size() < 64 {
				return nil
			}
			key := fileKey(info)
			if !seen[key] {
				seen[key] = true
				list = append(list, path)
			}
			return nil
		})
	}
	if len(list) == 0 {
		t.Fatal("no libraries on this machine")
	}
	return list
}

func fileKey(info fs.FileInfo) string {
	s, _ := info.Sys().(*syscall.Stat_t)
	return fmt.Sprint(s.Dev, s.Ino)
}
