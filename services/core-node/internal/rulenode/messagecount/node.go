// Package messagecount counts messages, and tells their number as telemetry of the tenant.
package messagecount

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","required":["interval","telemetryPrefix"],"properties":{
"interval":{"type":"integer","minimum":1,"description":"Seconds that are counted together."},
"telemetryPrefix":{"type":"string","minLength":1,"description":"The key begins with it; the process's name follows."}}}`

// longest bounds interval, to keep it within a time.Duration.
const longest = 365 * 24 * time.Hour

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.action.TbMsgCountNode",
		Name:      "message count",
		Category:  rule.Action,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Default:   json.RawMessage(`{"interval":1,"telemetryPrefix":"messageCount"}`),
		Schema:    json.RawMessage(schema),
		New:       newNode,
	}
}

type node struct {
	key      string
	interval time.Duration
	tenant   ident.TenantID
	now      func() time.Time

	mu    sync.Mutex
	since time.Time
	count int64
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c struct {
		Interval int64  `json:"interval"`
		Prefix   string `json:"telemetryPrefix"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	if c.Interval < 1 || c.Interval > int64(longest/time.Second) {
		return nil, fmt.Errorf("interval: %d is not a number of seconds", c.Interval)
	}
	if c.Prefix == "" {
		return nil, errors.New("telemetryPrefix: a text is needed")
	}
	key := c.Prefix
	if s.Service != "" {
		key += "_" + s.Service
	}
	return &node{key: key, interval: time.Duration(c.Interval) * time.Second, tenant: s.Tenant, now: s.Now, since: s.Now()}, nil
}

// Process lets the message end here. The first one after an interval also tells how many there were in it.
func (n *node) Process(_ context.Context, _ *rule.Message, turn *rule.Turn) error {
	now := n.now()
	count, delta := n.add(now)
	if count == 0 {
		return nil
	}
	turn.Emit(rule.Success, &rule.Message{
		ID: values.MessageID(ident.New()), Tenant: n.tenant, Originator: n.tenant.Entity(), Type: rule.PostTelemetry,
		Time: now.UnixMilli(), ReceivedAt: now.UnixMicro(),
		Metadata: rule.Metadata{}.With("delta", strconv.FormatInt(delta.Milliseconds(), 10)),
		Body:     rule.BodyOf([]values.KeyValue{{Key: n.key, Value: values.OfLong(count)}}),
	})
	return nil
}

// add counts one message, and returns what was counted, and over which time, when that is to be told.
func (n *node) add(now time.Time) (count int64, delta time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.count++
	if delta = now.Sub(n.since); delta < n.interval {
		return 0, 0
	}
	count = n.count
	n.since, n.count = now, 0
	return count, delta
}
