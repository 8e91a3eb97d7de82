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
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","properties":{
"defaultTTL":{"type":"integer","minimum":0,"description":"Seconds the rows live; 0 keeps them."},
"useServerTs":{"type":"boolean","description":"Store under the platform's time instead of the message's."},
"processingSettings":{"type":"object","properties":{"type":{"enum":["ON_EVERY_MESSAGE","WEBSOCKETS_ONLY","DEDUPLICATE","ADVANCED"]}}}}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.telemetry.TbMsgTimeseriesNode",
		Name:      "save time series",
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   1,
		Default:   json.RawMessage(`{"defaultTTL":0,"useServerTs":false,"processingSettings":{"type":"ON_EVERY_MESSAGE"}}`),
		Schema:    json.RawMessage(schema),
		Upgrade:   upgrade,
		New:       newNode,
	}
}

func upgrade(_ int, config map[string]any) {
	settings := map[string]any{"type": everyMessage}
	if skip, _ := config["skipLatestPersistence"].(bool); skip {
		settings = map[string]any{
			"type": "ADVANCED", "timeseries": settings, "webSockets": settings, "calculatedFields": settings,
			"latest": map[string]any{"type": skipMessage},
		}
	}
	delete(config, "skipLatestPersistence")
	config["processingSettings"] = settings
}

const (
	everyMessage = "ON_EVERY_MESSAGE"
	skipMessage  = "SKIP"
)

type config struct {
	DefaultTTL         int64     `json:"defaultTTL"`
	UseServerTs        bool      `json:"useServerTs"`
	ProcessingSettings *settings `json:"processingSettings"`
}

type settings struct {
	Type       string    `json:"type"`
	Timeseries *strategy `json:"timeseries"`
	Latest     *strategy `json:"latest"`
	WebSockets *strategy `json:"webSockets"`
}

type strategy struct {
	Type string `json:"type"`
}

type node struct {
	ttl                               time.Duration
	serverTime                        bool
	skipHistory, skipLatest, skipLive bool
	now                               func() time.Time
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	if c.DefaultTTL < 0 || c.DefaultTTL > int64(maxTTL/time.Second) {
		return nil, fmt.Errorf("defaultTTL: %d is not a number of seconds rows can live", c.DefaultTTL)
	}
	n := &node{ttl: time.Duration(c.DefaultTTL) * time.Second, serverTime: c.UseServerTs, now: s.Now}
	if c.ProcessingSettings == nil {
		return n, nil
	}
	return n, n.apply(*c.ProcessingSettings)
}

func (n *node) apply(s settings) (err error) {
	switch s.Type {
	case everyMessage:
		return nil
	case "WEBSOCKETS_ONLY":
		n.skipHistory, n.skipLatest = true, true
		return nil
	case "DEDUPLICATE":
		return fmt.Errorf("processingSettings.type: %w: DEDUPLICATE is not built yet", rule.ErrNotStartable)
	case "ADVANCED":
		if n.skipHistory, err = s.Timeseries.skips("timeseries"); err != nil {
			return err
		}
		if n.skipLatest, err = s.Latest.skips("latest"); err != nil {
			return err
		}
		n.skipLive, err = s.WebSockets.skips("webSockets")
		return err
	}
	return fmt.Errorf("processingSettings.type: %q is none of ON_EVERY_MESSAGE, WEBSOCKETS_ONLY, DEDUPLICATE, ADVANCED", s.Type)
}

func (s *strategy) skips(field string) (bool, error) {
	if s == nil {
		return false, fmt.Errorf("processingSettings.%s: a strategy is needed", field)
	}
	switch s.Type {
	case everyMessage:
		return false, nil
	case skipMessage:
		return true, nil
	case "DEDUPLICATE":
		return false, fmt.Errorf("processingSettings.%s: %w: DEDUPLICATE is not built yet", field, rule.ErrNotStartable)
	}
	return false, fmt.Errorf("processingSettings.%s.type: %q is none of ON_EVERY_MESSAGE, SKIP, DEDUPLICATE", field, s.Type)
}

// maxTTL keeps seconds within a time.Duration.
const maxTTL = 200 * 365 * 24 * time.Hour

func (n *node) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	if in.Type != rule.PostTelemetry {
		return fmt.Errorf("unsupported message type %s", in.Type)
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
	turn.Save(n.save(in, telemetry.Timed{Time: at, Values: values}, ttl))
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
	for _, r := range records {
		if n.serverTime {
			r.Time = at
		}
		turn.Save(n.save(in, r, ttl))
	}
	turn.Emit(rule.Success, in)
	return nil
}

func (n *node) save(in *rule.Message, r telemetry.Timed, ttl time.Duration) telemetry.Save {
	return telemetry.Save{
		Tenant: in.Tenant, ReceivedAt: in.ReceivedAt, Silent: n.skipLive,
		Write: storage.Write{
			Entity: in.Originator, Scope: storage.Timeseries, Time: r.Time, TTL: ttl, Values: r.Values,
			SkipHistory: n.skipHistory, SkipLatest: n.skipLatest,
		},
	}
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
