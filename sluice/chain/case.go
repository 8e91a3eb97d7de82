package chain

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corenode "github.com/sluice-iot/sluice/services/core-node"
)

const (
	caseSuffix  = ".case.json"
	chainSuffix = ".chain.json"
	// standardNow is the time of a case that says none.
	standardNow = "2026-01-01T00:00:00Z"
)

// testCase is what a case's file says (docs/howto/test-a-rule-chain.md).
type testCase struct {
	About     string                         `json:"about"`
	Chain     string                         `json:"chain"` // file beside the case; "": the case's name with chainSuffix
	Start     string                         `json:"start"`
	Now       string                         `json:"now"`
	Given     []corenode.TryEntity           `json:"given"`
	Relations []corenode.TryRelation         `json:"relations"`
	Outcomes  map[string]corenode.TryOutcome `json:"outcomes"`
	Messages  []corenode.TryMessage          `json:"messages"`

	Expect []expectedStep             `json:"expect"`
	Never  []string                   `json:"never"` // nodes that nothing enters
	Stored map[string]json.RawMessage `json:"stored"`
	Sent   []expectedSent             `json:"sent"`
	// Errors are parts of the errors that messages end with; one that ends with another, or with none asked for, fails.
	Errors []string `json:"errors"`
}

// expectedStep is a way out of a node that some message has to take; empty fields may be anything.
type expectedStep struct {
	Chain    string          `json:"chain"`
	Node     string          `json:"node"`
	Relation string          `json:"relation"`
	Type     string          `json:"type"`
	Metadata json.RawMessage `json:"metadata"`
	Body     json.RawMessage `json:"body"`
	Error    string          `json:"error"` // part of it
}

type expectedSent struct {
	Node string          `json:"node"`
	To   string          `json:"to"`
	Body json.RawMessage `json:"body"`
}

// runCase runs a case. What is wrong with its files is a failure of it, too.
func runCase(ctx context.Context, t *corenode.Tryout, path string) (result, error) {
	r := result{Case: path, Failures: []string{}}
	c, o, err := readCase(path)
	if err != nil {
		r.Failures = append(r.Failures, err.Error())
		return r, nil
	}
	report, err := t.Try(ctx, o)
	switch {
	case ctx.Err() != nil:
		return r, ctx.Err()
	case err != nil:
		r.Failures = append(r.Failures, err.Error())
		return r, nil
	}
	r.Failures = append(r.Failures, c.judge(report)...)
	if len(r.Failures) > 0 {
		r.Report = &report
	}
	return r, nil
}

func readCase(path string) (c testCase, o corenode.TryOptions, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return c, o, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields() // a word that is misspelt would test nothing
	if err := decoder.Decode(&c); err != nil {
		return c, o, fmt.Errorf("read the case: %w", err)
	}
	if len(c.Messages) == 0 {
		return c, o, errors.New("messages: there are none")
	}
	file := cmp.Or(c.Chain, strings.TrimSuffix(filepath.Base(path), caseSuffix)+chainSuffix)
	o = corenode.TryOptions{
		Start: c.Start, Given: c.Given, Relations: c.Relations, Outcomes: c.Outcomes, Messages: c.Messages,
	}
	if o.Now, err = time.Parse(time.RFC3339, cmp.Or(c.Now, standardNow)); err != nil {
		return c, o, fmt.Errorf("now: %q is no time such as %s", c.Now, standardNow)
	}
	o.File, err = os.ReadFile(filepath.Join(filepath.Dir(path), file))
	return c, o, err
}

// judge says what of the report is not as the case expects.
func (c *testCase) judge(report corenode.TryReport) (failures []string) {
	var all []corenode.TryStep
	for _, f := range report.Flights {
		all = append(all, f.Steps...)
	}
	used := make([]bool, len(all))
	for i, want := range c.Expect {
		if why := want.find(all, used); why != "" {
			failures = append(failures, fmt.Sprintf("expect[%d]: node %q%s: %s", i, want.Node, arrow(want.Relation), why))
		}
	}
	for _, name := range c.Never {
		for _, s := range all {
			if s.Node == name {
				failures = append(failures, fmt.Sprintf("never: node %q was entered by %s %s", name, s.Type, s.Body))
				break
			}
		}
	}
	failures = append(failures, c.judgeStored(report)...)
	failures = append(failures, c.judgeSent(report)...)
	return append(failures, c.judgeErrors(report)...)
}

func arrow(relation string) string {
	if relation == "" {
		return ""
	}
	return " → " + relation
}

// find looks for a step, which then is no other expectation's; it returns what came nearest.
func (e expectedStep) find(all []corenode.TryStep, used []bool) string {
	nearest, left := "", []string{}
	for i, s := range all {
		if s.Node != e.Node || e.Chain != "" && s.Chain != e.Chain {
			continue
		}
		way := cmp.Or(s.Relation, s.Went)
		if s.Error != "" {
			way += " (" + s.Error + ")"
		}
		left = append(left, way)
		if used[i] || e.Relation != "" && !strings.EqualFold(e.Relation, s.Relation) {
			continue
		}
		differs := e.differs(s)
		if len(differs) == 0 {
			used[i] = true
			return ""
		}
		if nearest == "" {
			nearest = strings.Join(differs, "\n")
		}
	}
	switch {
	case nearest != "":
		return "not as expected\n" + nearest
	case len(left) == 0:
		return "no message reached it"
	}
	return "messages left it by " + strings.Join(left, ", ")
}

func (e expectedStep) differs(s corenode.TryStep) (differs []string) {
	if e.Type != "" && e.Type != s.Type {
		differs = append(differs, unlike("type", e.Type, s.Type))
	}
	if !strings.Contains(s.Error, e.Error) {
		differs = append(differs, unlike("error", e.Error, s.Error))
	}
	differs = append(differs, compareJSON("metadata", e.Metadata, encoded(s.Metadata))...)
	return append(differs, compareJSON("body", e.Body, s.Body)...)
}

func (c *testCase) judgeStored(report corenode.TryReport) (failures []string) {
	for _, name := range slices.Sorted(maps.Keys(c.Stored)) {
		want := c.Stored[name]
		got, there := report.Stored[name]
		if !there {
			failures = append(failures, fmt.Sprintf("stored: there is nothing of %q", name))
			continue
		}
		for _, differs := range compareJSON("stored."+name, want, encoded(got)) {
			failures = append(failures, strings.TrimSpace(differs))
		}
	}
	return failures
}

func (c *testCase) judgeSent(report corenode.TryReport) (failures []string) {
	used := make([]bool, len(report.Sent))
	for i, want := range c.Sent {
		why := "nothing would be sent by it"
		for n, s := range report.Sent {
			if used[n] || s.Node != want.Node {
				continue
			}
			var differs []string
			if want.To != "" && want.To != s.To {
				differs = append(differs, unlike("to", want.To, s.To))
			}
			if differs = append(differs, compareJSON("body", want.Body, s.Body)...); len(differs) == 0 {
				used[n], why = true, ""
				break
			}
			why = "not as expected\n" + strings.Join(differs, "\n")
		}
		if why != "" {
			failures = append(failures, fmt.Sprintf("sent[%d]: node %q: %s", i, want.Node, why))
		}
	}
	return failures
}

// judgeErrors holds the errors messages ended with against those expected, one for one.
func (c *testCase) judgeErrors(report corenode.TryReport) (failures []string) {
	met := make([]bool, len(c.Errors))
	for _, f := range report.Flights {
		if f.Error == "" {
			continue
		}
		found := false
		for i, want := range c.Errors {
			if !met[i] && strings.Contains(f.Error, want) {
				met[i], found = true, true
				break
			}
		}
		if !found {
			failures = append(failures, fmt.Sprintf("%s failed at %s: %s", f.Type, f.Where, f.Error))
		}
	}
	for i, want := range c.Errors {
		if !met[i] {
			failures = append(failures, fmt.Sprintf("errors[%d]: no message ended with %q", i, want))
		}
	}
	return failures
}

// encoded is v as JSON; what reports hold always encodes.
func encoded(v any) json.RawMessage {
	text, _ := json.Marshal(v)
	return text
}
