package main

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/process/settings"
	"github.com/sluice-iot/sluice/sluice/standalone"
)

var update = flag.Bool("update", false, "write the reference pages instead of comparing them")

// checkPage compares a generated page with the one that is committed.
func checkPage(t *testing.T, name, want string) {
	t.Helper()
	path := filepath.Join("..", "docs", "reference", name)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is not what the program says; run `make generate` (-want +got):\n%s", path, diff)
	}
}

func TestReferenceOfSettings(t *testing.T) {
	var page bytes.Buffer
	grammar := settings.Grammar{Name: "sluice", Description: description, Commands: &commands{}}
	if err := settings.Reference(grammar, &page); err != nil {
		t.Fatal(err)
	}
	checkPage(t, "settings.md", page.String())
}

func TestReferenceOfMetrics(t *testing.T) {
	config, err := standalone.DefaultConfig(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	platform, err := standalone.New(t.Context(), config, process.Env{
		Log: slog.New(slog.DiscardHandler), Metrics: registry, Health: &process.Health{},
	})
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := platform.Run(ended); err != nil {
		t.Error(err)
	}
	page := &strings.Builder{}
	page.WriteString("# Metrics\n\nGenerated from a booted standalone process by `make generate`; a test fails when this page is not what it says.\n" +
		"`/metrics` on the admin listener has these, and those of the Go runtime and the process (`go_*`, `process_*`).\n\n" +
		"| metric | labels | meaning |\n|---|---|---|\n")
	for _, m := range described(t, registry) {
		fmt.Fprintf(page, "| `%s` | %s | %s |\n", m.name, m.labels, m.help)
	}
	checkPage(t, "metrics.md", page.String())
}

// metric is one row of the page.
type metric struct{ name, labels, help string }

// descText is the text form of a prometheus.Desc, which is the only way to its fields.
var descText = regexp.MustCompile(`fqName: "([^"]*)", help: ("(?:[^"\\]|\\.)*"), (?:unit: "[^"]*", )?constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}`)

// described lists what registry may ever report, whether or not it has a value yet.
func described(t *testing.T, registry *prometheus.Registry) []metric {
	t.Helper()
	descs := make(chan *prometheus.Desc)
	go func() {
		registry.Describe(descs)
		close(descs)
	}()
	var rows []metric
	for desc := range descs {
		match := descText.FindStringSubmatch(desc.String())
		if match == nil {
			t.Fatalf("%s is not in the form this test reads", desc)
		}
		var labels []string
		for label := range strings.SplitSeq(match[3]+","+match[4], ",") {
			if name, _, _ := strings.Cut(label, "="); name != "" {
				labels = append(labels, "`"+name+"`")
			}
		}
		help := strings.Trim(match[2], `"`)
		if help == "" {
			t.Errorf("%s says nothing of its meaning", match[1])
		}
		rows = append(rows, metric{match[1], strings.Join(labels, " "), help})
	}
	slices.SortFunc(rows, func(a, b metric) int { return cmp.Compare(a.name, b.name) })
	return slices.Compact(rows)
}
