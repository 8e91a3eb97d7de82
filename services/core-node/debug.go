package corenode

import (
	"encoding/json"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/event"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

// debugText is how much of a message's data and metadata a debug event keeps, in bytes each.
const debugText = 16 << 10

// debugged keeps what a rule node under debugging did as an event of the node (rest-api §2.12).
func (s *Service) debugged(d rule.Debugged) {
	if s.events.Spent(d.Tenant) {
		return
	}
	m := d.Message
	body := event.RuleNodeBody{
		Server: s.config.NodeID, Type: "IN", EntityID: m.Originator.ID.String(), EntityType: m.Originator.Type.String(),
		MsgID: ident.ID(m.ID).String(), MsgType: m.Type, DataType: "JSON", RelationType: string(d.Relation),
		Data: event.Cut(m.Body.Text(), debugText),
	}
	if d.Out {
		body.Type = "OUT"
	}
	if d.Err != nil {
		body.Error = d.Err.Error()
	}
	metadata, err := json.Marshal(m.Metadata.All())
	if err != nil {
		return // a map of texts is always encoded
	}
	body.Metadata = event.Cut(string(metadata), debugText)
	encoded, err := json.Marshal(body)
	if err != nil {
		return // as above
	}
	s.events.Put(event.Event{
		Tenant: d.Tenant, Entity: ident.EntityID{Type: ident.RuleNode, ID: d.Node}, Type: event.DebugRuleNode,
		Time: time.Now().UnixMilli(), Body: encoded,
	})
}
