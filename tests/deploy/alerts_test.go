package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

type alert struct {
	Alert, Expr string
	Labels      struct{ Severity string }
	Annotations struct {
		Summary    string
		RunbookURL string `yaml:"runbook_url"`
	}
}

func alerts(t *testing.T) []alert {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "compose", "monitoring", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []alert } }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var all []alert
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) < 10 {
		t.Fatalf("%d alerts", len(all))
	}
	return all
}

var runbook = regexp.MustCompile(`^https://github\.com/sluice-iot/sluice/blob/main/(docs/[a-z/-]+\.md)#([a-z-]+)$`)

// TestAlertsSayWhatToDo: who is woken finds the page, and the part of it.
func TestAlertsSayWhatToDo(t *testing.T) {
	for _, a := range alerts(t) {
		match := runbook.FindStringSubmatch(a.Annotations.RunbookURL)
		if match == nil {
			t.Errorf("%s: runbook_url %q", a.Alert, a.Annotations.RunbookURL)
			continue
		}
		text, err := os.ReadFile(filepath.Join("../..", match[1]))
		if err != nil {
			t.Errorf("%s: %v", a.Alert, err)
			continue
		}
		if !regexp.MustCompile(`(?mi)^## ` + regexp.QuoteMeta(match[2]) + `$`).Match(text) {
			t.Errorf("%s: %s has no part %q", a.Alert, match[1], match[2])
		}
		if a.Annotations.Summary == "" || a.Labels.Severity != "page" && a.Labels.Severity != "ticket" {
			t.Errorf("%s: summary %q, severity %q", a.Alert, a.Annotations.Summary, a.Labels.Severity)
		}
	}
}

// TestAlertsNameMetricsThatExist: ours as docs/reference/metrics.md has them, and the few of others.
func TestAlertsNameMetricsThatExist(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	others := map[string]bool{
		"up": true, "process_open_fds": true, "process_max_fds": true, "process_resident_memory_bytes": true,
		"haproxy_backend_active_servers": true,
	}
	metric := regexp.MustCompile(`\b(?:up\b|[a-z]+(?:_[a-z]+){1,})`)
	for _, a := range alerts(t) {
		expression := regexp.MustCompile(`"[^"]*"`).ReplaceAllString(a.Expr, "")
		names := metric.FindAllString(expression, -1)
		if len(names) == 0 {
			t.Errorf("%s asks for no metric: %s", a.Alert, a.Expr)
		}
		for _, name := range names {
			if !others[name] && !strings.Contains(string(page), "| `"+name+"` |") {
				t.Errorf("%s asks for %s, which docs/reference/metrics.md does not have", a.Alert, name)
			}
		}
	}
}
