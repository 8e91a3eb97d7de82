// Package delay holds messages back for a time.
package delay

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/pattern"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","properties":{
"periodInSeconds":{"type":"integer","minimum":0,"description":"How long messages are held back."},
"maxPendingMsgs":{"type":"integer","minimum":1,"maximum":100000,"description":"Most messages held back at once; further ones fail."},
"periodInSecondsPattern":{"type":["string","null"],"description":"Pattern of the period, used instead if useMetadataPeriodInSecondsPatterns."},
"useMetadataPeriodInSecondsPatterns":{"type":"boolean"}}}`

// pendingMost bounds maxPendingMsgs, of which each takes memory here.
const pendingMost = 100_000

// longest is the longest a message is held back.
const longest = 10 * 365 * 24 * time.Hour

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.delay.TbMsgDelayNode",
		Name:      "delay (deprecated)",
		Category:  rule.Action,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Default:   json.RawMessage(`{"periodInSeconds":60,"maxPendingMsgs":1000,"periodInSecondsPattern":null,"useMetadataPeriodInSecondsPatterns":false}`),
		Schema:    json.RawMessage(schema),
		New:       newNode,
	}
}

type config struct {
	Period     int64   `json:"periodInSeconds"`
	MaxPending *int    `json:"maxPendingMsgs"`
	Pattern    *string `json:"periodInSecondsPattern"`
	UsePattern bool    `json:"useMetadataPeriodInSecondsPatterns"`
}

type node struct {
	period  time.Duration
	pattern *pattern.Pattern // instead of period
	now     func() time.Time
	pending *pending
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	most := 1000
	if c.MaxPending != nil {
		most = *c.MaxPending
	}
	if most < 1 || most > pendingMost {
		return nil, fmt.Errorf("maxPendingMsgs: %d is not between 1 and %d", most, pendingMost)
	}
	n := &node{now: s.Now, pending: &pending{most: most}}
	if c.UsePattern {
		if c.Pattern == nil || strings.TrimSpace(*c.Pattern) == "" {
			return nil, errors.New("periodInSecondsPattern: a pattern is needed")
		}
		p := pattern.Compile(*c.Pattern)
		n.pattern = &p
		return n, nil
	}
	var ok bool
	if n.period, ok = seconds(c.Period); !ok {
		return nil, fmt.Errorf("periodInSeconds: %d is not a number of seconds", c.Period)
	}
	return n, nil
}

func seconds(count int64) (period time.Duration, ok bool) {
	if count < 0 || count > int64(longest/time.Second) {
		return 0, false
	}
	return time.Duration(count) * time.Second, true
}

func (n *node) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	period, err := n.periodOf(in)
	if err != nil {
		return err
	}
	now := n.now()
	due := now.Add(period)
	if !n.pending.add(now, due) {
		return errors.New("max limit of pending messages reached")
	}
	turn.Later(due, in)
	return nil
}

func (n *node) periodOf(in *rule.Message) (time.Duration, error) {
	if n.pattern == nil {
		return n.period, nil
	}
	text := strings.TrimSpace(n.pattern.Of(in))
	count, err := strconv.ParseInt(text, 10, 64)
	if period, ok := seconds(count); err == nil && ok {
		return period, nil
	}
	return 0, fmt.Errorf("periodInSecondsPattern %q: %q is not a number of seconds", n.pattern.Source(), text)
}
