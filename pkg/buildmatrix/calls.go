package buildmatrix

import (
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/download"
)

// callGraph says which names each function of a container uses, by its name: functions of the container and what is defined
// elsewhere. A function counts as used if its address is taken, also by a variable that is used. It is made of relocatable
// files in which each function has a section of its own, so that all it uses needs relocations; no code is decoded.
type callGraph map[string][]string

// chain returns the names by which a function leads to one that is, both included; nil if there are none.
func (g callGraph) chain(from string, is func(name string) bool) []string {
	before := map[string]string{}
	for todo := []string{from}; len(todo) > 0; todo = todo[1:] {
		for _, name := range g[todo[0]] {
			if _, seen := before[name]; seen {
				continue
			}
			before[name] = todo[0]
			if is(name) {
				list := []string{name}
				for at := todo[0]; ; at = before[at] {
					list = append(list, at)
					if at == from {
						slices.Reverse(list)
						return list
					}
				}
			}
			todo = append(todo, name)
		}
	}
	return nil
}

// calls returns the graph of an object, from the manifest or the compiler. Calls may come from several goroutines.
func (o *objects) calls(ctx context.Context, b *download.Build, obj *object) (callGraph, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if g, ok := o.manifest.Calls[obj.digest]; ok {
		return g, nil
	}
	tmp, err := os.MkdirTemp(o.dir, tempPrefix)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	g := callGraph{}
	rel := filepath.Join(relObjects, filepath.Base(tmp), "calls.o")
	for _, source := range o.patch.Sources {
		args := []string{"-fno-lto", "-ffunction-sections", "-fdata-sections", "-c", "-o", rel, source}
		if _, err := o.compiler.run(ctx, append(o.flags(b), args...)...); err != nil {
			return nil, err
		}
		err := g.addFile(filepath.Join(tmp, "calls.o"))
		if errors.Is(err, os.ErrNotExist) { // the compiler had nothing to compile
			err = g.addFile(at(o.root, source))
		}
		if err != nil {
			return nil, fmt.Errorf("what %s calls: %w", source, err)
		}
		_ = os.Remove(filepath.Join(tmp, "calls.o"))
	}
	for name := range g {
		slices.Sort(g[name])
		g[name] = slices.Compact(g[name])
	}
	o.manifest.Calls[obj.digest], o.changed = g, true
	return g, o.save()
}

// addFile adds what a relocatable file has. Names of different files are one, also if they are static: a chain too many is better
// than one that is missing.
func (g callGraph) addFile(name string) error {
	f, err := elf.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return err
	}
	owners := make([][]string, len(f.Sections)) // functions, or the section's own name if it has none
	for _, s := range symbols {
		if i := int(s.Section); i > 0 && i < len(owners) && s.Name != "" && elf.ST_TYPE(s.Info) == elf.STT_FUNC {
			owners[i] = append(owners[i], s.Name)
		}
	}
	for i, s := range f.Sections {
		if owners[i] == nil {
			owners[i] = []string{"section " + s.Name}
		}
	}
	for _, s := range f.Sections {
		size, at := 0, 0
		switch s.Type {
		case elf.SHT_RELA:
			size, at = 24, 8
		case elf.SHT_REL:
			size, at = 16, 8
		}
		if size == 0 || int(s.Info) >= len(owners) || s.Info == 0 || strings.HasPrefix(f.Sections[s.Info].Name, ".debug") || f.Sections[s.Info].Name == ".eh_frame" {
			continue
		}
		rows, err := s.Data()
		if err != nil {
			return err
		}
		for ; len(rows) >= size; rows = rows[size:] {
			i := int(binary.LittleEndian.Uint64(rows[at:]) >> 32)
			if i == 0 || i > len(symbols) {
				continue
			}
			g.add(owners[s.Info], usedBy(&symbols[i-1], owners))
		}
	}
	return nil
}

// usedBy returns what a relocation against a symbol uses.
func usedBy(s *elf.Symbol, owners [][]string) []string {
	i := int(s.Section)
	switch {
	case i == 0 || i >= len(owners): // elsewhere
		return []string{s.Name}
	case elf.ST_TYPE(s.Info) == elf.STT_FUNC:
		return []string{s.Name}
	}
	return owners[i] // a section, or a variable in one
}

func (g callGraph) add(from, to []string) {
	for _, a := range from {
		g[a] = append(g[a], to...)
	}
}
