package rulenode

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

var update = flag.Bool("update", false, "write the reference page instead of comparing it")

// TestReferenceOfRuleNodes holds docs/reference/rule-nodes.md to what the nodes say of themselves.
func TestReferenceOfRuleNodes(t *testing.T) {
	page := &strings.Builder{}
	page.WriteString("# Rule nodes\n\nGenerated from the nodes by `make generate`; a test fails when this page is not what they say.\n" +
		"Every node has the relation `Failure` besides those named. Classes are those of exported chains, without `" + classes + "`.\n" +
		"`${key}` in a configuration that is a pattern is the metadata's text, `$[a.b]` the body's value at that path.\n\n" +
		"| node | class | category |\n|---|---|---|\n")
	kinds := slices.SortedFunc(slices.Values(Built()), func(a, b rule.Kind) int {
		return cmp.Or(cmp.Compare(a.Category, b.Category), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Class, b.Class))
	})
	for _, k := range kinds {
		fmt.Fprintf(page, "| %s | `%s` | %s |\n", k.Name, k.Class[len(classes):], strings.ToLower(string(k.Category)))
	}
	for _, k := range kinds {
		describe(t, page, k)
	}
	page.WriteString("\n## Not built\n\nChains with nodes of these classes can be imported; messages that reach such a node fail.\n\n")
	for _, class := range unbuilt {
		fmt.Fprintf(page, "- `%s`\n", class)
	}
	path := filepath.Join("..", "..", "..", "..", "docs", "reference", "rule-nodes.md")
	if *update {
		if err := os.WriteFile(path, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(page.String(), string(got)); diff != "" {
		t.Errorf("%s is not what the nodes say; run `make generate` (-want +got):\n%s", path, diff)
	}
}

// describe writes the section of one node. Its configuration is tabled from the schema unless its own text has a table.
func describe(t *testing.T, page *strings.Builder, k rule.Kind) {
	t.Helper()
	var relations []string
	for _, r := range k.Relations {
		relations = append(relations, "`"+string(r)+"`")
	}
	switch {
	case k.CustomRelations && len(relations) > 0:
		relations = append(relations, "others by name")
	case k.CustomRelations:
		relations = append(relations, "by name")
	case len(relations) == 0:
		relations = append(relations, "none")
	}
	fmt.Fprintf(page, "\n## %s\n\n`%s`, version %d. Relations: %s.\n\n%s\n", k.Name, k.Class[len(classes):], k.Version,
		strings.Join(relations, ", "), strings.TrimSpace(k.Doc))
	fields, known := fieldsOf(t, k)
	if len(known) > 0 && !strings.Contains(k.Doc, "|---") {
		page.WriteString("\n| field | type | default | meaning |\n|---|---|---|---|\n")
		for _, name := range slices.Sorted(maps.Keys(known)) {
			kind, meaning := property(t, known[name])
			standard := ""
			if value, ok := fields[name]; ok {
				standard = "`" + compact(t, value) + "`"
			}
			fmt.Fprintf(page, "| `%s` | %s | %s | %s |\n", name, kind, cell(standard), cell(meaning))
		}
	}
	if len(known) > 0 {
		fmt.Fprintf(page, "\nDefault: `%s`\n", compact(t, k.Default))
	}
}

// property reads the type and the meaning of one field of a schema.
func property(t *testing.T, text json.RawMessage) (kind, meaning string) {
	t.Helper()
	var p struct {
		Type        any    `json:"type"`
		Enum        []any  `json:"enum"`
		Description string `json:"description"`
	}
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	switch kinds := p.Type.(type) {
	case string:
		kind = kinds
	case []any:
		kind = strings.Trim(fmt.Sprint(kinds), "[]")
	}
	if len(p.Enum) > 0 {
		var choices []string
		for _, choice := range p.Enum {
			if choice != nil {
				choices = append(choices, fmt.Sprint(choice))
			}
		}
		kind = strings.Join(choices, ", ")
	}
	return kind, p.Description
}

func compact(t *testing.T, value json.RawMessage) string {
	t.Helper()
	var text bytes.Buffer
	if err := json.Compact(&text, value); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// cell keeps text within its column.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
