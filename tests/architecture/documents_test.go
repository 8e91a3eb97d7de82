package architecture

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var namedFile = regexp.MustCompile("`((?:proto|process|bus|transport|services|sluice|tests|tools|deploy|docs)/[A-Za-z0-9_./-]*)`")

// TestDocumentsNameWhatExists: every path in back quotes, in every document, is there.
func TestDocumentsNameWhatExists(t *testing.T) {
	dir, err := root()
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, document := range documents(t, dir) {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range namedFile.FindAllStringSubmatch(string(text), -1) {
			checked++
			if _, err := os.Stat(filepath.Join(dir, match[1])); err != nil {
				t.Errorf("%s names `%s`, which does not exist", strings.TrimPrefix(document, dir+"/"), match[1])
			}
		}
	}
	if checked < 16 {
		t.Errorf("only %d paths found: ARCHITECTURE.md should at least name those of the main path", checked)
	}
}

func documents(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".md" {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestPackagesSayWhatTheyAre: every package of the product has a package comment, in one file.
func TestPackagesSayWhatTheyAre(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range load(t) {
		if s.test {
			continue
		}
		folder := filepath.Dir(s.path)
		documented[folder] = documented[folder] || s.file.Doc != nil
	}
	for folder, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment", folder)
		}
	}
}

// TestNoInit: start-up order is explicit; nothing registers itself.
func TestNoInit(t *testing.T) {
	for _, s := range load(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init function", s.path)
			}
		}
	}
}

// TestTestsAreNotSkipped: what should run, runs.
func TestTestsAreNotSkipped(t *testing.T) {
	skip := regexp.MustCompile(`^Skip(f|Now)?$`)
	for _, s := range load(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if !ok || !s.test || !skip.MatchString(call.Sel.Name) {
				return true
			}
			if x, ok := call.X.(*ast.Ident); ok && (x.Name == "t" || x.Name == "b" || x.Name == "f") {
				t.Errorf("%s skips a test", s.path)
			}
			return true
		})
	}
}
