package rulenode

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

func TestEveryBuiltNodeIsDescribedAndStartsByDefault(t *testing.T) {
	services := rule.Services{Log: slog.New(slog.DiscardHandler), Now: time.Now}
	for _, kind := range Built() {
		t.Run(kind.Name, func(t *testing.T) {
			if !strings.HasPrefix(kind.Class, classes) || kind.Doc == "" || len(kind.Relations) == 0 {
				t.Errorf("class %q, doc of %d bytes, relations %v", kind.Class, len(kind.Doc), kind.Relations)
			}
			if !json.Valid(kind.Schema) {
				t.Errorf("schema is no JSON: %s", kind.Schema)
			}
			if _, err := kind.New(kind.Default, services); err != nil {
				t.Errorf("the default configuration is refused: %v", err)
			}
			if _, err := kind.New(json.RawMessage(`[1`), services); kind.Version > 0 && err == nil {
				t.Error("a configuration that is no JSON is taken")
			}
		})
	}
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
