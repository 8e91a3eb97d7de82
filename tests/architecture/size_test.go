package architecture

import (
	"fmt"
	"go/ast"
	"path"
	"strings"
	"testing"
)

// The budget. What exceeds it carries a comment "size: <reason>" above it.
const (
	maxFileLines        = 400
	maxTestFileLines    = 600
	maxFunctionLines    = 60
	maxInterfaceMethods = 6
)

var drawers = map[string]bool{
	"common": true, "util": true, "utils": true, "helper": true, "helpers": true, "shared": true,
	"misc": true, "lib": true, "pkg": true, "base": true, "manager": true,
}

func TestSizes(t *testing.T) {
	for _, s := range load(t) {
		for _, excess := range oversize(s) {
			t.Error(excess)
		}
	}
}

func oversize(s source) []string {
	var found []string
	limit := maxFileLines
	if s.test {
		limit = maxTestFileLines
	}
	if s.lines > limit {
		found = append(found, fmt.Sprintf("%s has %d lines, more than %d", s.path, s.lines, limit))
	}
	for _, name := range strings.Split(path.Dir(s.path), "/") {
		if drawers[name] {
			found = append(found, fmt.Sprintf("%s: a folder called %q says nothing of what it holds", s.path, name))
		}
	}
	if s.test {
		return found
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			lines := s.set.Position(n.End()).Line - s.set.Position(n.Pos()).Line + 1
			if lines > maxFunctionLines && !excused(n.Doc) {
				found = append(found, fmt.Sprintf("%s: %s has %d lines, more than %d", s.path, n.Name.Name, lines, maxFunctionLines))
			}
		case *ast.TypeSpec:
			if i, ok := n.Type.(*ast.InterfaceType); ok && len(i.Methods.List) > maxInterfaceMethods {
				if n.Name.Name != "Telemetry" && n.Name.Name != "Bus" { // contracts with many implementers or parts, listed in docs/decisions/0002
					found = append(found, fmt.Sprintf("%s: interface %s has %d methods, more than %d", s.path, n.Name.Name, len(i.Methods.List), maxInterfaceMethods))
				}
			}
		}
		return true
	})
	return found
}

func excused(doc *ast.CommentGroup) bool {
	return doc != nil && strings.Contains(doc.Text(), "size: ")
}
