// Package raised makes the messages and the ids of what a node does besides handing on its message. They follow from the message
// and the node: who handles the message again makes the same again.
package raised

import (
	"fmt"

	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

// ID is the id of what s's node does with in; what tells several apart. The body counts: copies of a message may carry different ones.
func ID(s rule.Services, in *rule.Message, what string) ident.ID {
	return ident.Derive(ident.ID(in.ID), fmt.Sprintf("%d/%d/%s/%s/%s", in.Index, in.Time, s.Node, what, in.Body.Text()))
}

// Message is a message of its own, of in's originator, for rule.Turn.Raise. Its metadata names the node.
func Message(s rule.Services, in *rule.Message, messageType, body string, metadata map[string]string) *rule.Message {
	now := s.Now()
	return &rule.Message{
		ID: values.MessageID(ID(s, in, messageType)), Tenant: in.Tenant, Originator: in.Originator, Customer: in.Customer, Profile: in.Profile,
		Type: messageType, Time: now.UnixMilli(), ReceivedAt: now.UnixMicro(),
		Metadata: rule.Metadata{}.With("ruleNodeId", s.Node.String()).WithAll(metadata), Body: rule.TextBody(body),
	}
}
