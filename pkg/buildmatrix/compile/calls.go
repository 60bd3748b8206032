package compile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// CallGraph lists the names that each function of a container uses: functions of the container and
// names that are defined elsewhere. A name with [ulp.AddressOf] before it is one whose address is
// taken, by the function or by a variable that it uses. The graph is made from relocatable files in
// which each function has a section of its own, so that each use has a relocation; no code is
// decoded.
type CallGraph map[string][]string

// Chain returns the chain of uses from a function to the first name for which is returns true, both
// included; nil if there is none. Uses that follow rejects are not followed.
func (g CallGraph) Chain(from string, is func(name string) bool,
	follow func(name string, address bool) bool) []string {
	before := map[string]string{}
	for todo := []string{from}; len(todo) > 0; todo = todo[1:] {
		for _, use := range g[todo[0]] {
			name, address := strings.CutPrefix(use, ulp.AddressOf)
			if _, seen := before[name]; seen || !follow(name, address) {
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

// Calls returns the graph of an object and its functions that choose implementations, from the
// manifest or the compiler. Calls may come from several goroutines.
func (o *Objects) Calls(ctx context.Context, b *download.Build, obj *Object) (g CallGraph,
	choosers []Chooser, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if g, ok := o.manifest.Calls[obj.Digest]; ok {
		return g, o.manifest.Choosers[obj.Digest], nil
	}
	tmp, err := os.MkdirTemp(o.dir, TempPrefix)
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(tmp)
	g = CallGraph{}
	rel := filepath.Join(relObjects, filepath.Base(tmp), "calls.o")
	for _, source := range o.patch.Sources {
		args := []string{"-fno-lto", "-ffunction-sections", "-fdata-sections", "-c", "-o", rel,
			source}
		if path.Ext(source) == ".c" {
			args = append(args, "-aux-info", filepath.Join(relObjects, filepath.Base(tmp),
				"prototypes"))
		}
		if _, err := o.compiler.run(ctx, append(o.flags(b), args...)...); err != nil {
			return nil, nil, err
		}
		uses, err := usesOf(filepath.Join(tmp, "calls.o"))
		if errors.Is(err, os.ErrNotExist) { // the compiler had nothing to compile
			uses, err = usesOf(at(o.root, source))
		}
		if err != nil {
			return nil, nil, fmt.Errorf("what %s calls: %w", source, err)
		}
		for from, to := range uses {
			// names of different files are one, also if they are static: a chain too many is better
			// than one too few
			g[from] = append(g[from], to...)
		}
		if path.Ext(source) == ".c" {
			prototypes, err := regularfile.Read(filepath.Join(tmp, "prototypes"), MaxObject)
			if err != nil {
				return nil, nil, err
			}
			choosers = append(choosers, choosersIn(prototypes, uses)...)
			_ = os.Remove(filepath.Join(tmp, "prototypes"))
		}
		_ = os.Remove(filepath.Join(tmp, "calls.o"))
	}
	for name := range g {
		slices.Sort(g[name])
		g[name] = slices.Compact(g[name])
	}
	o.manifest.Calls[obj.Digest], o.manifest.Choosers[obj.Digest], o.changed = g, choosers, true
	return g, choosers, o.Save()
}

// usesOf returns what the functions of a relocatable file use.
func usesOf(name string) (map[string][]string, error) {
	image, err := regularfile.Read(name, MaxObject)
	if err != nil {
		return nil, err
	}
	return ulp.UsesOf(image)
}

// With returns the graph with one more use.
func (g CallGraph) With(from, to string) CallGraph {
	c := make(CallGraph, len(g)+1)
	maps.Copy(c, g)
	c[from] = append(slices.Clone(g[from]), to)
	return c
}
