// Package deduplication makes one message of many.
package deduplication

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","required":["interval","strategy"],"properties":{
"interval":{"type":"integer","minimum":1,"description":"Seconds that belong together."},
"strategy":{"enum":["FIRST","LAST","ALL"],"description":"Which message goes on; ALL makes an array of all."},
"outMsgType":{"type":["string","null"],"description":"Type of the messages that ALL makes; needed for it."},
"maxPendingMsgs":{"type":"integer","minimum":1,"maximum":10000,"description":"Most messages of an originator that wait at once."},
"maxRetries":{"type":"integer","description":"Not needed: nothing stored is given up."}}}`

const (
	// longest bounds interval, to keep it within a time.Duration.
	longest = 365 * 24 * time.Hour
	// pendingMost bounds maxPendingMsgs.
	pendingMost = 10_000
)

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.deduplication.TbMsgDeduplicationNode",
		Name:      "deduplication",
		Category:  rule.Transformation,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   1,
		Default:   json.RawMessage(`{"interval":60,"strategy":"FIRST","outMsgType":null,"maxPendingMsgs":100,"maxRetries":3}`),
		Schema:    json.RawMessage(schema),
		HasQueue:  true,
		Upgrade:   upgrade,
		New:       newNode,
	}
}

// upgrade moves the queue from the configuration to the node.
func upgrade(_ int, config map[string]any, n *rule.NodeEntry) {
	if queue, ok := config["queueName"].(string); ok {
		n.Queue = queue
	}
	delete(config, "queueName")
}

type strategy string

const (
	first strategy = "FIRST"
	last  strategy = "LAST"
	all   strategy = "ALL"
)

type config struct {
	Interval   int64    `json:"interval"`
	Strategy   strategy `json:"strategy"`
	OutType    *string  `json:"outMsgType"`
	MaxPending *int     `json:"maxPendingMsgs"`
}

type node struct {
	strategy strategy
	outType  string
	interval time.Duration
	now      func() time.Time
	windows  *windows
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	if c.Interval < 1 || c.Interval > int64(longest/time.Second) {
		return nil, fmt.Errorf("interval: %d is not a number of seconds", c.Interval)
	}
	n := &node{strategy: c.Strategy, interval: time.Duration(c.Interval) * time.Second, now: s.Now}
	switch c.Strategy {
	case first, last:
	case all:
		if c.OutType == nil || *c.OutType == "" {
			return nil, errors.New("outMsgType: a type is needed for strategy ALL")
		}
		n.outType = *c.OutType
	default:
		return nil, fmt.Errorf("strategy: %q is none of FIRST, LAST, ALL", c.Strategy)
	}
	most := 100
	if c.MaxPending != nil {
		most = *c.MaxPending
	}
	if most < 1 || most > pendingMost {
		return nil, fmt.Errorf("maxPendingMsgs: %d is not between 1 and %d", most, pendingMost)
	}
	n.windows = newWindows(most, n.interval)
	return n, nil
}

// Process lets the message end here, once what goes on for its interval is kept: itself, an array it is in, or another one. Which of
// these it is, the memory of windows decides; whether it is kept, the place alone: a message may come here again, as it failed behind
// this node or was given back with its partition.
func (n *node) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	n.windows.mu.Lock()
	defer n.windows.mu.Unlock()
	w, err := n.windows.of(in.Originator, in.Timestamp(), n.now())
	if err != nil {
		return err
	}
	keep, out := turn.LaterInstead, in
	switch at := in.Timestamp(); {
	case n.strategy == all:
		if out, err = n.gathered(w, in); err != nil {
			return err
		}
	case n.strategy == first || at < w.latest:
		keep = turn.LaterUnless
	default:
		w.latest = at
	}
	n.windows.took(w)
	keep(w.place, w.due, out)
	return nil
}

// gathered returns the array of all messages of w, of which in is the newest.
func (n *node) gathered(w *window, in *rule.Message) (*rule.Message, error) {
	element, err := json.Marshal(struct {
		Msg      json.RawMessage   `json:"msg"`
		Metadata map[string]string `json:"metadata"`
	}{body(in), in.Metadata.All()})
	if err != nil {
		return nil, fmt.Errorf("write the message into an array: %w", err)
	}
	if err := n.windows.append(w, element); err != nil {
		return nil, err
	}
	return &rule.Message{
		ID: values.MessageID(w.place), Tenant: in.Tenant, Originator: in.Originator, Customer: in.Customer, Profile: in.Profile,
		Type: n.outType, Time: in.Time, ReceivedAt: in.ReceivedAt, Queue: in.Queue,
		Metadata: rule.Metadata{}.With("ts", strconv.FormatInt(w.start+n.interval.Milliseconds(), 10)),
		Body:     rule.TextBody(string(w.array) + "]"),
	}, nil
}

// body is what a message says as JSON: a text that is none is a string.
func body(in *rule.Message) json.RawMessage {
	text := []byte(in.Body.Text())
	if json.Valid(text) {
		return text
	}
	quoted, _ := json.Marshal(string(text)) // a string always encodes
	return quoted
}
