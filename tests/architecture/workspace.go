// Package architecture holds the house to its own rules: who may import whom, how large a
// thing may grow, and that the documents name files that exist. It reads source only.
package architecture

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

const module = "github.com/sluice-iot/sluice/"

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// source is one Go file of the workspace.
type source struct {
	path  string // from the root, with slashes
	lines int
	test  bool
	file  *ast.File
	set   *token.FileSet
}

// floor is the module a file belongs to: "bus", "services/core-node".
func (s source) floor() string {
	parts := strings.Split(s.path, "/")
	if parts[0] == "services" {
		return strings.Join(parts[:2], "/")
	}
	return parts[0]
}

// root returns the workspace's folder: the nearest one above that holds go.work.
func root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no go.work above the working folder")
		}
		dir = parent
	}
}

// sources parses every hand-written Go file below the root.
func sources(root string) ([]source, error) {
	var all []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "testdata" || d.Name() == "gen" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil || generated.Match(text) {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, text, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		all = append(all, source{
			path:  filepath.ToSlash(rel),
			lines: strings.Count(string(text), "\n"),
			test:  strings.HasSuffix(path, "_test.go"),
			file:  file,
			set:   set,
		})
		return err
	})
	return all, err
}
