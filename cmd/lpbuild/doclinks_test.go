package main

import (
	"go/ast"
	"go/doc"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestDocLinks checks that links in doc comments lead to something: go doc prints those that do not
// as text, and nothing else notices when a name moves to another package.
func TestDocLinks(t *testing.T) {
	const root = "../.."
	packages := map[string]*doc.Package{} // by import path
	for _, top := range []string{"cmd", "internal", "pkg"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(dir string, d fs.DirEntry,
			err error) error {
			if err != nil || !d.IsDir() || d.Name() == "testdata" {
				return err
			}
			p, err := packageDoc(root, dir)
			if p != nil {
				packages[p.ImportPath] = p
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(packages) < 40 {
		t.Fatalf("%d packages, want all of them", len(packages))
	}
	for path, p := range packages {
		links := p.Parser()
		known := links.LookupSym
		links.LookupSym = func(recv, name string) bool {
			ok := known(recv, name)
			if !ok {
				t.Errorf("%s: a doc link to [%s], which is not in the package", path,
					strings.TrimPrefix(recv+"."+name, "."))
			}
			return ok
		}
		for _, text := range docsOf(p) {
			for _, l := range linksIn(links.Parse(text).Content) {
				other := packages[l.ImportPath]
				if other != nil && !other.Parser().LookupSym(l.Recv, l.Name) {
					t.Errorf("%s: a doc link to [%s], which is not in %s", path,
						strings.TrimPrefix(l.Recv+"."+l.Name, "."), l.ImportPath)
				}
			}
		}
	}
}

// linksIn returns the doc links in parts of a comment.
func linksIn(blocks []comment.Block) []*comment.DocLink {
	var links []*comment.DocLink
	texts := func(list []comment.Text) {
		for _, text := range list {
			if l, ok := text.(*comment.DocLink); ok && l.Name != "" {
				links = append(links, l)
			}
		}
	}
	for _, b := range blocks {
		switch b := b.(type) {
		case *comment.Paragraph:
			texts(b.Text)
		case *comment.Heading:
			texts(b.Text)
		case *comment.List:
			for _, item := range b.Items {
				links = append(links, linksIn(item.Content)...)
			}
		}
	}
	return links
}

// packageDoc reads the documentation of a directory's package, with what it does not export; nil if
// there is none.
func packageDoc(root, dir string) (*doc.Package, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, "_other.go") {
			continue
		}
		f, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	if len(files) == 0 {
		return nil, nil
	}
	rel, err := filepath.Rel(root, dir)
	if err != nil {
		return nil, err
	}
	return doc.NewFromFiles(set, files, "github.com/lpbuild/lpbuild/"+filepath.ToSlash(rel),
		doc.AllDecls)
}

// docsOf returns the doc comments of a package and its declarations.
func docsOf(p *doc.Package) []string {
	texts := []string{p.Doc}
	values := func(list []*doc.Value) {
		for _, v := range list {
			texts = append(texts, v.Doc)
		}
	}
	functions := func(list []*doc.Func) {
		for _, f := range list {
			texts = append(texts, f.Doc)
		}
	}
	values(p.Consts)
	values(p.Vars)
	functions(p.Funcs)
	for _, typ := range p.Types {
		texts = append(texts, typ.Doc)
		values(typ.Consts)
		values(typ.Vars)
		functions(typ.Funcs)
		functions(typ.Methods)
	}
	return texts
}
