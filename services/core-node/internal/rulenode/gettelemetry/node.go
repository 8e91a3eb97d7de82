// Package gettelemetry puts the originator's past telemetry into messages.
package gettelemetry

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/history"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/object"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/pattern"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/selection"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

//go:embed doc.md
var doc string

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.metadata.TbGetTelemetryNode",
		Name:      "originator telemetry",
		Category:  rule.Enrichment,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   2,
		Default:   json.RawMessage(defaults),
		Schema:    json.RawMessage(schema),
		Waits:     rule.ForStore,
		Upgrade:   upgrade,
		New:       newNode,
	}
}

func upgrade(from int, config map[string]any, _ *rule.NodeEntry) {
	if from < 1 {
		ascending, descending := any("ASC"), any("DESC")
		switch config["fetchMode"] {
		case first:
			config["orderBy"], config["aggregation"] = ascending, "NONE"
		case last:
			config["orderBy"], config["aggregation"] = descending, "NONE"
		case all:
			if empty(config["orderBy"]) {
				config["orderBy"] = ascending
			}
			if empty(config["aggregation"]) {
				config["aggregation"] = "NONE"
			}
		default:
			config["fetchMode"], config["orderBy"], config["aggregation"] = last, descending, "NONE"
		}
	}
	if limit, ok := config["limit"].(float64); !ok || limit == 0 {
		config["limit"] = mostPoints
	}
}

func empty(field any) bool { return field == nil || field == "" }

type node struct {
	keys   []pattern.Pattern
	single bool // FIRST or LAST
	query  history.Query
	window window
	reader *history.Reader
	now    func() time.Time
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	n := &node{keys: pattern.CompileAll(c.Keys), now: s.Now, reader: history.New(s.Values, history.DefaultOptions())}
	var err error
	if n.window, err = c.window(); err != nil {
		return nil, err
	}
	n.query, n.single, err = c.query()
	return n, err
}

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	q := n.query
	for _, key := range n.keys {
		if text := key.Of(in); text != "" {
			q.Keys = append(q.Keys, text)
		}
	}
	if len(q.Keys) == 0 {
		return errors.New("latestTsKeyNames: no key is left for this message")
	}
	var err error
	if q.Within, err = n.window.at(n.now(), in); err != nil {
		return err
	}
	if q.Aggregate != history.None {
		q.Interval = history.Interval{Unit: history.Milliseconds, Width: q.Within.End - q.Within.Start}
	}
	found, err := n.reader.Read(ctx, in.Originator, q)
	if err != nil {
		return fmt.Errorf("read telemetry: %w", err)
	}
	texts := map[string]string{}
	for _, series := range found {
		if len(series.Points) > 0 {
			texts[series.Key] = n.text(series.Points)
		}
	}
	out := *in
	out.Metadata = in.Metadata.WithAll(texts)
	turn.Emit(rule.Success, &out)
	return nil
}

// text is how metadata carries points: one as a quoted text, many as an array of objects whose names have no quotes.
func (n *node) text(points []storage.Point) string {
	if n.single {
		return string(object.Quote(history.Text(points[0].Value)))
	}
	text := []byte{'['}
	for i, p := range points {
		if i > 0 {
			text = append(text, ',')
		}
		text = selection.AppendBare(text, p)
	}
	return string(append(text, ']'))
}

// window is which time a node looks at: back from now, or between two patterns.
type window struct {
	from, to   time.Duration
	start, end pattern.Pattern
	patterns   bool
}

func (w window) at(now time.Time, in *rule.Message) (storage.Span, error) {
	if !w.patterns {
		return storage.Span{Start: now.Add(-w.from).UnixMilli(), End: now.Add(-w.to).UnixMilli()}, nil
	}
	start, err := moment("startIntervalPattern", w.start.Of(in))
	if err != nil {
		return storage.Span{}, err
	}
	end, err := moment("endIntervalPattern", w.end.Of(in))
	if err != nil {
		return storage.Span{}, err
	}
	if start >= end {
		return storage.Span{}, fmt.Errorf("the interval ends at %d, before its start at %d", end, start)
	}
	return storage.Span{Start: start, End: end}, nil
}

func moment(field, text string) (int64, error) {
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is no time in milliseconds", field, text)
	}
	return ms, nil
}
