// Package savetimeseries stores telemetry.
package savetimeseries

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/processing"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","properties":{
"defaultTTL":{"type":"integer","minimum":0,"description":"Seconds the rows live; 0 keeps them."},
"useServerTs":{"type":"boolean","description":"Store under the platform's time instead of the message's."},
"processingSettings":` + processing.Schema + `}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.telemetry.TbMsgTimeseriesNode",
		Name:      "save time series",
		Category:  rule.Action,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   1,
		Default:   json.RawMessage(`{"defaultTTL":0,"useServerTs":false,"processingSettings":{"type":"ON_EVERY_MESSAGE"}}`),
		Schema:    json.RawMessage(schema),
		Upgrade:   upgrade,
		New:       newNode,
	}
}

func upgrade(_ int, config map[string]any, _ *rule.NodeEntry) {
	settings := map[string]any{"type": processing.EveryMessage}
	if skip, _ := config["skipLatestPersistence"].(bool); skip {
		settings = map[string]any{
			"type": processing.Advanced, "timeseries": settings, "webSockets": settings, "calculatedFields": settings,
			"latest": map[string]any{"type": processing.Skip},
		}
	}
	delete(config, "skipLatestPersistence")
	config["processingSettings"] = settings
}

type config struct {
	DefaultTTL         int64                `json:"defaultTTL"`
	UseServerTs        bool                 `json:"useServerTs"`
	ProcessingSettings *processing.Settings `json:"processingSettings"`
}

type node struct {
	ttl        time.Duration
	serverTime bool
	policy     *processing.Policy
	now        func() time.Time
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	if c.DefaultTTL < 0 || c.DefaultTTL > int64(maxTTL/time.Second) {
		return nil, fmt.Errorf("defaultTTL: %d is not a number of seconds rows can live", c.DefaultTTL)
	}
	policy, err := c.ProcessingSettings.Compile(processing.Timeseries | processing.Latest | processing.WebSockets | processing.CalculatedFields)
	return &node{ttl: time.Duration(c.DefaultTTL) * time.Second, serverTime: c.UseServerTs, policy: policy, now: s.Now}, err
}

// maxTTL keeps seconds within a time.Duration.
const maxTTL = 200 * 365 * 24 * time.Hour

func (n *node) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	if in.Type != rule.PostTelemetry {
		return fmt.Errorf("cannot save: Unsupported msg type %s", in.Type)
	}
	ttl, err := n.lifetime(in.Metadata)
	if err != nil {
		return err
	}
	at := in.Timestamp()
	if n.serverTime {
		at = n.now().UnixMilli()
	}
	values, typed := in.Body.Typed()
	if !typed {
		return n.saveText(in, turn, at, ttl)
	}
	if len(values) == 0 {
		return errEmpty
	}
	n.save(in, turn, n.policy.Of(in), telemetry.Timed{Time: at, Values: values}, ttl)
	turn.Emit(rule.Success, in)
	return nil
}

var errEmpty = errors.New("the body holds no values")

func (n *node) saveText(in *rule.Message, turn *rule.Turn, at int64, ttl time.Duration) error {
	records, err := telemetry.ParseRecords(in.Body.Text(), at)
	if err != nil {
		return err
	}
	if len(records) == 0 {
		return errEmpty
	}
	actions := n.policy.Of(in)
	for _, r := range records {
		if n.serverTime {
			r.Time = at
		}
		n.save(in, turn, actions, r, ttl)
	}
	turn.Emit(rule.Success, in)
	return nil
}

func (n *node) save(in *rule.Message, turn *rule.Turn, actions processing.Actions, r telemetry.Timed, ttl time.Duration) {
	const seen = processing.Timeseries | processing.Latest | processing.WebSockets
	if actions&seen == 0 {
		return
	}
	turn.Save(telemetry.Save{
		Tenant: in.Tenant, ReceivedAt: in.ReceivedAt,
		Silent: actions&processing.WebSockets == 0, LiveOnly: actions&(processing.Timeseries|processing.Latest) == 0,
		Write: storage.Write{
			Entity: in.Originator, Scope: storage.Timeseries, Time: r.Time, TTL: ttl, Values: r.Values,
			SkipHistory: actions&processing.Timeseries == 0, SkipLatest: actions&processing.Latest == 0,
		},
	})
}

func (n *node) lifetime(m rule.Metadata) (time.Duration, error) {
	text, ok := m.Get("TTL")
	if !ok || text == "" {
		return n.ttl, nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 || seconds > int64(maxTTL/time.Second) {
		return 0, fmt.Errorf("metadata TTL: %q is not a number of seconds", text)
	}
	return time.Duration(seconds) * time.Second, nil
}
