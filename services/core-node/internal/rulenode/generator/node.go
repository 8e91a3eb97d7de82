// Package generator makes messages by itself, one after another.
package generator

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/script"
)

//go:embed doc.md
var doc string

const (
	standard = `var msg = { temp: 42, humidity: 77 };
var metadata = { data: 40 };
var msgType = "POST_TELEMETRY_REQUEST";

return { msg: msg, metadata: metadata, msgType: msgType };`
	// longest bounds periodInSeconds, to keep it within a time.Duration.
	longest = 10 * 365 * 24 * time.Hour
)

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.debug.TbMsgGeneratorNode",
		Name:      "generator",
		Category:  rule.Action,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   2,
		Default:   standardConfig(),
		Schema:    schema(),
		Waits:     rule.ForScripts,
		HasQueue:  true,
		Upgrade:   upgrade,
		New:       newNode,
	}
}

type config struct {
	MsgCount       int64   `json:"msgCount"`
	Period         int64   `json:"periodInSeconds"`
	OriginatorType string  `json:"originatorType"`
	OriginatorID   *string `json:"originatorId"`
	script.Source
}

func standardConfig() json.RawMessage {
	text, _ := json.Marshal(config{ // plain values always encode
		Period: 1, OriginatorType: ident.RuleNode.String(), Source: script.Source{Language: script.JS, JS: standard, TBEL: standard},
	})
	return text
}

func schema() json.RawMessage {
	return json.RawMessage(`{"type":"object","properties":{
"msgCount":{"type":"integer","minimum":0,"description":"How many messages are made; 0: no end."},
"periodInSeconds":{"type":"integer","minimum":1,"description":"Time from one message to the next."},
"originatorType":{"type":["string","null"],"description":"Type of the originator; RULE_NODE is the node itself, TENANT its tenant."},
"originatorId":{"type":["string","null"],"description":"Id of the originator; not needed for the node itself and its tenant."},
"scriptLang":{"enum":["JS","TBEL",null],"description":"Which of the scripts counts; JS when absent. TBEL is not run here."},
"jsScript":{"type":"string","description":"Body of a function of prevMsg, prevMetadata, prevMsgType. Returns {msg, metadata, msgType}."},
"tbelScript":{"type":"string","description":"The same in TBEL."}}}`)
}

func upgrade(from int, config map[string]any, n *rule.NodeEntry) {
	if from < 1 {
		if queue, ok := config["queueName"].(string); ok {
			n.Queue = queue
		}
		delete(config, "queueName")
	}
	if from < 2 && (config["originatorType"] == nil || config["originatorId"] == nil) {
		config["originatorType"] = ident.RuleNode.String()
	}
}

type node struct {
	script     *script.Function
	count      int64
	period     time.Duration
	originator ident.EntityID
	tenant     ident.TenantID
	queue      string
	now        func() time.Time
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	if c.MsgCount < 0 {
		return nil, fmt.Errorf("msgCount: %d is negative", c.MsgCount)
	}
	if c.Period < 1 || c.Period > int64(longest/time.Second) {
		return nil, fmt.Errorf("periodInSeconds: %d is not a number of seconds", c.Period)
	}
	originator, err := c.originator(s)
	if err != nil {
		return nil, err
	}
	function, err := c.Prepare(s, script.StandardFields(), script.GeneratorParameters())
	if err != nil {
		return nil, err
	}
	return &node{function, c.MsgCount, time.Duration(c.Period) * time.Second, originator, s.Tenant, s.Queue, s.Now}, nil
}

func (c config) originator(s rule.Services) (ident.EntityID, error) {
	switch c.OriginatorType {
	case "", ident.RuleNode.String():
		return ident.EntityID{Type: ident.RuleNode, ID: s.Node}, nil
	case ident.Tenant.String():
		return s.Tenant.Entity(), nil
	}
	number, known := sluicepb.EntityType_value[c.OriginatorType]
	if !known || number == 0 {
		return ident.EntityID{}, fmt.Errorf("originatorType: %w: entities of type %q are not known", rule.ErrNotStartable, c.OriginatorType)
	}
	if c.OriginatorID == nil {
		return ident.EntityID{}, errors.New("originatorId: an id is needed")
	}
	id, err := ident.Parse(*c.OriginatorID)
	if err != nil {
		return ident.EntityID{}, fmt.Errorf("originatorId: %w", err)
	}
	return ident.EntityID{Type: ident.EntityType(number), ID: id}, nil
}

// memory is what is kept from one message to the next.
type memory struct {
	Made     int64             `json:"made"`
	Data     string            `json:"data"`
	Metadata map[string]string `json:"metadata"`
	Type     string            `json:"type"`
}

// Process refuses: nothing leads to a node that makes its messages itself.
func (n *node) Process(context.Context, *rule.Message, *rule.Turn) error {
	return errors.New("a generator takes no messages")
}

// Originator implements rule.Source.
func (n *node) Originator() ident.EntityID { return n.originator }

// Tick implements rule.Source. A message the script fails to make counts, and goes along Failure as the one before it was.
func (n *node) Tick(ctx context.Context, state []byte, turn *rule.Turn) (again time.Duration, next []byte, err error) {
	m := memory{Data: "{}"}
	if state != nil {
		if err := json.Unmarshal(state, &m); err != nil {
			return 0, nil, fmt.Errorf("read the generator's state: %w", err)
		}
	}
	if n.count > 0 && m.Made >= n.count {
		return 0, state, nil
	}
	made, err := n.make(ctx, m)
	if err != nil && rule.PlatformFault(err) {
		return 0, nil, err
	}
	switch {
	case err != nil:
		turn.Fail(made, err)
	case n.queue != "":
		turn.Requeue(n.queue, made)
	default:
		turn.Emit(rule.Success, made)
	}
	m = memory{m.Made + 1, made.Body.Text(), made.Metadata.All(), made.Type}
	if next, err = json.Marshal(m); err != nil {
		return 0, nil, fmt.Errorf("write the generator's state: %w", err)
	}
	if n.count > 0 && m.Made >= n.count {
		return 0, next, nil
	}
	return n.period, next, nil
}

// make has the script make a message of the one before it, which it returns, as a new one, with an error.
func (n *node) make(ctx context.Context, m memory) (*rule.Message, error) {
	now := n.now()
	before := &rule.Message{
		ID: values.MessageID(ident.New()), Tenant: n.tenant, Originator: n.originator, Time: now.UnixMilli(), ReceivedAt: now.UnixMicro(),
		Type: m.Type, Metadata: rule.Metadata{}.WithAll(m.Metadata), Body: rule.TextBody(m.Data),
	}
	result, err := n.script.CallTexts(ctx, m.Data, m.Metadata, m.Type)
	if err != nil {
		return before, err
	}
	made, err := script.ReadMessage(result, before)
	if err != nil {
		return before, err
	}
	return made, nil
}
