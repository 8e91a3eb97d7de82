package rulenode

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestEveryBuiltNodeIsDescribedAndStartsByDefault(t *testing.T) {
	categories := []rule.Category{rule.Filter, rule.Enrichment, rule.Transformation, rule.Action, rule.External, rule.Flow}
	b := rulenodetest.New(t)
	b.Platform()
	for _, kind := range Built() {
		t.Run(kind.Class[len(classes):], func(t *testing.T) {
			if !strings.HasPrefix(kind.Class, classes) || kind.Name == "" || kind.Doc == "" || !slices.Contains(categories, kind.Category) {
				t.Errorf("class %q, name %q, category %q, doc of %d bytes", kind.Class, kind.Name, kind.Category, len(kind.Doc))
			}
			if returns := kind.Class == classes+"flow.TbRuleChainOutputNode"; (len(kind.Relations) == 0 && !kind.CustomRelations) != returns {
				t.Errorf("its relations are %v", kind.Relations)
			}
			if _, err := b.New(kind, ""); err != nil && !errors.Is(err, rule.ErrNotStartable) {
				t.Errorf("the default configuration is refused: %v", err)
			}
			if _, err := b.New(kind, `[1`); kind.Version > 0 && err == nil {
				t.Error("a configuration that is no JSON is taken")
			}
		})
	}
}

func TestDefaultsKeepToTheirSchema(t *testing.T) {
	for _, kind := range Built() {
		t.Run(kind.Class[len(classes):], func(t *testing.T) {
			document, err := jsonschema.UnmarshalJSON(bytes.NewReader(kind.Schema))
			if err != nil {
				t.Fatalf("the schema is no JSON: %v", err)
			}
			compiler := jsonschema.NewCompiler()
			if err := compiler.AddResource("schema.json", document); err != nil {
				t.Fatal(err)
			}
			schema, err := compiler.Compile("schema.json")
			if err != nil {
				t.Fatalf("the schema is none: %v", err)
			}
			standard, err := jsonschema.UnmarshalJSON(bytes.NewReader(kind.Default))
			if err != nil {
				t.Fatalf("the default configuration is no JSON: %v", err)
			}
			if err := schema.Validate(standard); err != nil {
				t.Error(err)
			}
			fields, known := fieldsOf(t, kind)
			for field := range fields {
				if _, ok := known[field]; !ok && field != "version" {
					t.Errorf("the schema says nothing of %s", field)
				}
			}
		})
	}
}

// fieldsOf returns the fields of kind's default configuration, and those its schema describes.
func fieldsOf(t *testing.T, kind rule.Kind) (fields, known map[string]json.RawMessage) {
	t.Helper()
	var schema struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if err := errors.Join(json.Unmarshal(kind.Default, &fields), json.Unmarshal(kind.Schema, &schema)); err != nil {
		t.Fatal(err)
	}
	return fields, schema.Properties
}

func TestEveryClassIsListedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, kind := range Catalogue() {
		if seen[kind.Class] {
			t.Errorf("%s is listed twice", kind.Class)
		}
		seen[kind.Class] = true
	}
	if !slices.IsSorted(unbuilt[:]) {
		t.Error("the list of what is not built is not sorted")
	}
}

func TestEveryNodeFolderHasItsParts(t *testing.T) {
	folders, err := filepath.Glob("*/node.go")
	if err != nil || len(folders) != len(Built()) {
		t.Fatalf("%d folders with a node.go, %d nodes built, %v", len(folders), len(Built()), err)
	}
	for _, node := range folders {
		for _, part := range []string{"node_test.go", "doc.md"} {
			if _, err := os.Stat(filepath.Join(filepath.Dir(node), part)); err != nil {
				t.Error(err)
			}
		}
	}
}
