package chain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sluice-iot/sluice/process"
	corenode "github.com/sluice-iot/sluice/services/core-node"
)

// Test is `sluice chain test`.
type Test struct {
	Path     string   `arg:"" help:"An exported rule chain or bundle; a case (*.case.json); or a folder of cases."`
	Message  string   `name:"message" help:"The message's body, JSON."`
	Type     string   `name:"type" default:"POST_TELEMETRY_REQUEST" help:"The message's type."`
	Metadata string   `name:"metadata" help:"Metadata beside those the platform adds, a JSON object of texts."`
	Device   string   `name:"device" default:"Device" help:"Name of the device the message is from; it is made."`
	Tick     string   `name:"tick" help:"Name of a generator node, which makes the message instead."`
	Start    string   `name:"start" help:"Rule chain of a bundle that the message enters; else its root, or its first."`
	Outcome  []string `name:"outcome" sep:"," help:"How external nodes end, as NODE=RELATION; others by Success."`
	Now      string   `name:"now" help:"Time of the message, such as 2026-01-01T00:00:00Z: what is printed is then the same every time, without how long nodes took."`
	JSON     bool     `name:"json" help:"Print JSON."`
}

// Run runs one message and prints its way, or cases and prints how they differ.
func (c *Test) Run(ctx context.Context, inv process.Invocation) error {
	info, err := os.Stat(c.Path)
	if err != nil {
		return err
	}
	cases := []string{c.Path}
	if info.IsDir() {
		if cases, err = findCases(c.Path); err != nil {
			return err
		}
	}
	if info.IsDir() || strings.HasSuffix(c.Path, caseSuffix) {
		if c.Message != "" || c.Metadata != "" || c.Tick != "" || c.Start != "" || c.Now != "" || len(c.Outcome) > 0 {
			return errors.New("cases say themselves what enters which chain: give a chain's file with --message")
		}
		return c.runCases(ctx, inv, cases)
	}
	return c.runOne(ctx, inv)
}

func (c *Test) runOne(ctx context.Context, inv process.Invocation) error {
	o, err := c.options()
	if err != nil {
		return err
	}
	return offline(ctx, func(ctx context.Context, t *corenode.Tryout) error {
		report, err := t.Try(ctx, o)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Path, err)
		}
		if c.JSON {
			err = printJSON(inv.Stdout, report)
		} else {
			err = printReport(inv.Stdout, report, c.Now == "")
		}
		if err != nil {
			return err
		}
		for _, f := range report.Flights {
			if f.Error != "" {
				return fmt.Errorf("%s failed at %s: %s", f.Type, f.Where, f.Error)
			}
		}
		return nil
	})
}

func (c *Test) options() (o corenode.TryOptions, err error) {
	if o.File, err = os.ReadFile(c.Path); err != nil {
		return o, err
	}
	m := corenode.TryMessage{Type: c.Type, Device: c.Device, Tick: c.Tick, Body: json.RawMessage(c.Message)}
	if c.Message == "" && c.Tick == "" {
		return o, errors.New(`--message: the body of a message is needed, such as '{"temperature":21}'`)
	}
	if m.Metadata, err = readObject("metadata", c.Metadata); err != nil {
		return o, err
	}
	o.Start, o.Messages, o.Outcomes = c.Start, []corenode.TryMessage{m}, map[string]corenode.TryOutcome{}
	for _, outcome := range c.Outcome {
		node, relation, found := strings.Cut(outcome, "=")
		if !found || relation == "" {
			return o, fmt.Errorf("--outcome: %q is not NODE=RELATION", outcome)
		}
		o.Outcomes[node] = corenode.TryOutcome{Relation: relation}
	}
	if c.Now == "" {
		o.Stopwatch = time.Now
		return o, nil
	}
	if o.Now, err = time.Parse(time.RFC3339, c.Now); err != nil {
		return o, fmt.Errorf("--now: %q is no time such as %s", c.Now, standardNow)
	}
	return o, nil
}

// findCases returns the cases of a folder and of those in it, in order of their names.
func findCases(dir string) (cases []string, err error) {
	err = filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, caseSuffix) {
			cases = append(cases, path)
		}
		return err
	})
	if err == nil && len(cases) == 0 {
		err = fmt.Errorf("%s: there is no case (*%s) in it", dir, caseSuffix)
	}
	slices.Sort(cases)
	return cases, err
}

// result is how a case went.
type result struct {
	Case     string              `json:"case"`
	Failures []string            `json:"failures"`
	Report   *corenode.TryReport `json:"report,omitempty"` // of a case that failed
}

func (c *Test) runCases(ctx context.Context, inv process.Invocation, cases []string) error {
	results := []result{}
	failed := 0
	err := offline(ctx, func(ctx context.Context, t *corenode.Tryout) error {
		for _, path := range cases {
			r, err := runCase(ctx, t, path)
			if err != nil {
				return err
			}
			if len(r.Failures) > 0 {
				failed++
			}
			results = append(results, r)
			if c.JSON {
				continue
			}
			if err := printResult(inv.Stdout, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if c.JSON {
		if err := printJSON(inv.Stdout, results); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %s failed", failed, counted(len(cases), "case"))
	}
	return nil
}
