package architecture

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// floors says what each module may import of ours besides itself. "roots" means the root
// packages of services only. Tests follow the same table.
var floors = map[string][]string{
	"proto":                   {},
	"process":                 {},
	"bus":                     {"proto"},
	"transport":               {"proto", "bus"},
	"services/mqtt-transport": {"proto", "process", "bus", "transport"},
	"services/http-transport": {"proto", "process", "bus", "transport"},
	"services/coap-transport": {"proto", "process", "bus", "transport"},
	"services/core-node":      {"proto", "process", "bus"},
	"services/js-executor":    {"proto", "process", "bus"},
	"sluice":                  {"process", "bus", "roots"},
	"tests":                   {"proto", "process", "bus", "transport", "sluice", "roots"},
	"examples":                {"proto", "process", "bus", "transport"},
	"tools":                   {},
}

// inside core-node imports go downwards too: a row may import only what its entry lists.
var insideCoreNode = map[string][]string{
	"storage":   {},
	"telemetry": {"storage", "live", "entity", "rule"},
	"live":      {"storage"},
	"rule":      {"storage", "entity", "telemetry", "relation", "alarm", "outside"},
	"outside":   {},
	"history":   {"storage"},
	"password":  {},
	"alarm":     {"storage", "relation", "reference"},
	"reference": {},
	"relation":  {"storage", "reference"},
	"event":     {"storage"},
	"blob":      {},
	"ota":       {"blob", "storage", "entity", "telemetry"},
}

func TestFloors(t *testing.T) {
	for _, violation := range checkFloors(load(t)) {
		t.Error(violation)
	}
}

// TestFloorsNoticeAViolation plants imports that must be refused.
func TestFloorsNoticeAViolation(t *testing.T) {
	for _, c := range []struct{ path, imports string }{
		{"bus/reader.go", "transport"},
		{"proto/ident/ident.go", "bus"},
		{"services/mqtt-transport/service.go", "services/core-node"},
		{"sluice/main.go", "services/core-node/internal/rule"},
		{"sluice/standalone/platform.go", "transport"},
		{"services/core-node/internal/storage/storage.go", "services/core-node/internal/live"},
		{"somewhere/new.go", "proto"},
	} {
		if refuse(source{path: c.path}, c.imports) == "" {
			t.Errorf("%s may import %s, and should not", c.path, c.imports)
		}
	}
	if got := refuse(source{path: "services/core-node/service.go"}, "bus/topics"); got != "" {
		t.Errorf("a lawful import is refused: %s", got)
	}
}

func checkFloors(all []source) []string {
	var violations []string
	for _, s := range all {
		for _, spec := range s.file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil || !strings.HasPrefix(path, module) {
				continue
			}
			if reason := refuse(s, strings.TrimPrefix(path, module)); reason != "" {
				violations = append(violations, reason)
			}
		}
	}
	return violations
}

// refuse returns why s may not import the package, or "".
func refuse(s source, imported string) string {
	from, to := s.floor(), source{path: imported + "/x.go"}.floor()
	allowed, known := floors[from]
	if !known {
		return fmt.Sprintf("%s: module %s has no row in the table of floors", s.path, from)
	}
	if from == to {
		return refuseInside(s, imported)
	}
	for _, a := range allowed {
		if a == to || a == "roots" && strings.HasPrefix(to, "services/") && imported == to {
			return ""
		}
	}
	return fmt.Sprintf("%s imports %s: %s may import only %v", s.path, imported, from, allowed)
}

func refuseInside(s source, imported string) string {
	const inside = "services/core-node/internal/"
	if s.test || !strings.HasPrefix(s.path, inside) || !strings.HasPrefix(imported, inside) {
		return ""
	}
	from := strings.Split(strings.TrimPrefix(s.path, inside), "/")[0]
	to := strings.Split(strings.TrimPrefix(imported, inside), "/")[0]
	allowed, listed := insideCoreNode[from]
	if !listed || from == to {
		return ""
	}
	for _, a := range allowed {
		if a == to {
			return ""
		}
	}
	return fmt.Sprintf("%s imports %s: inside core-node %s may import only %v", s.path, imported, from, allowed)
}

func load(t *testing.T) []source {
	t.Helper()
	dir, err := root()
	if err != nil {
		t.Fatal(err)
	}
	all, err := sources(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d source files found below %s", len(all), dir)
	}
	return all
}
