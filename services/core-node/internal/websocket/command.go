package websocket

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
)

// The types of command (rest-api §4.2).
const (
	attributesCommand = "ATTRIBUTES"
	timeseriesCommand = "TIMESERIES"
	historyCommand    = "TIMESERIES_HISTORY"
)

// command is one thing a client asks for; which fields count depends on the type.
type command struct {
	Type        string `json:"type"`
	ID          int64  `json:"cmdId"`
	EntityType  string `json:"entityType"`
	EntityID    string `json:"entityId"`
	Keys        string `json:"keys"` // comma-separated; empty is all
	Scope       string `json:"scope"`
	StartTs     int64  `json:"startTs"`
	EndTs       int64  `json:"endTs"`
	TimeWindow  int64  `json:"timeWindow"`
	Interval    int64  `json:"interval"`
	Limit       int    `json:"limit"`
	Agg         string `json:"agg"`
	Unsubscribe bool   `json:"unsubscribe"`
}

// login is how a session of /api/ws says who it is.
type login struct {
	Token string `json:"token"`
}

// frame is what a client sent.
type frame struct {
	login    *login
	commands []command
}

// generalFrame is the frame of /api/ws (rest-api §4.1); legacyFrame that of the telemetry plugin
// (§4.3). What else they hold is ignored.
type generalFrame struct {
	AuthCmd *login    `json:"authCmd"`
	Cmds    []command `json:"cmds"`
}

type legacyFrame struct {
	AttrSubCmds []command `json:"attrSubCmds"`
	TsSubCmds   []command `json:"tsSubCmds"`
	HistoryCmds []command `json:"historyCmds"`
}

var errNotObject = errors.New("a frame is a JSON object")

// parseFrame reads a frame; in the legacy form the array a command stands in is its type.
func parseFrame(data []byte, legacy bool) (frame, error) {
	if !legacy {
		var g *generalFrame
		if err := json.Unmarshal(data, &g); err != nil {
			return frame{}, fmt.Errorf("parse frame: %w", err)
		}
		if g == nil {
			return frame{}, errNotObject
		}
		return frame{login: g.AuthCmd, commands: g.Cmds}, nil
	}
	var l *legacyFrame
	if err := json.Unmarshal(data, &l); err != nil {
		return frame{}, fmt.Errorf("parse frame: %w", err)
	}
	if l == nil {
		return frame{}, errNotObject
	}
	var f frame
	for _, part := range []struct {
		kind     string
		commands []command
	}{{attributesCommand, l.AttrSubCmds}, {timeseriesCommand, l.TsSubCmds}, {historyCommand, l.HistoryCmds}} {
		for _, c := range part.commands {
			c.Type = part.kind
			f.commands = append(f.commands, c)
		}
	}
	return f, nil
}

// entity reads which entity the command is about.
func (c command) entity() (ident.EntityID, error) {
	if c.EntityType == "" || c.EntityID == "" {
		return ident.EntityID{}, errors.New("entityType and entityId are required")
	}
	kind, ok := sluicepb.EntityType_value[c.EntityType]
	if !ok || kind == 0 {
		return ident.EntityID{}, fmt.Errorf("entityType %q is unknown", c.EntityType)
	}
	id, err := ident.Parse(c.EntityID)
	if err != nil {
		return ident.EntityID{}, fmt.Errorf("entityId: %w", err)
	}
	return ident.EntityID{Type: ident.EntityType(kind), ID: id}, nil
}

// keys reads the keys; nil is all.
func (c command) keys() []string {
	var keys []string
	seen := map[string]bool{}
	for key := range strings.SplitSeq(c.Keys, ",") {
		if key != "" && !seen[key] {
			seen[key] = true
			keys = append(keys, key)
		}
	}
	return keys
}
