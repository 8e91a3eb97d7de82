package deviceprofile

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// progress is how far a rule that counts, or measures time, has come.
type progress struct {
	Count int64 `json:"count,omitempty"` // of events in a row, no further than is needed
	Since int64 `json:"since,omitempty"` // the time of the first message for which it held, ms
	Began int64 `json:"began,omitempty"` // when that was handled, ms
}

// memory is how far a device's rules have come: before and after the last message, which may be handled again, and which messages
// these were. A message that comes again after others must not count twice, so it is told by its place on its queue.
//
// Messages of a device come one after another, each when all that came of the one before is durable: this node holds the device's
// lane. So what came before the last message needs nothing of the rules that count when it is there again. (Where a queue has packs
// tried again, one that failed before it came here may come behind later ones; that it then does not count is the smaller evil.)
type memory struct {
	Message ident.ID         `json:"message"`
	Index   int              `json:"index,omitempty"`
	Places  map[string]place `json:"places,omitempty"` // by queue
	// Received is when the youngest message was received, µs: a queue that was made anew counts from 1 again.
	Received int64               `json:"received"`
	Before   map[string]progress `json:"before,omitempty"` // by the names of rules
	Now      map[string]progress `json:"now,omitempty"`

	tenure ident.ID
}

// place is a message's on its queue.
type place struct {
	Record int64 `json:"record"`
	Index  int   `json:"index,omitempty"`
}

func (p place) before(other place) bool {
	return p.Record < other.Record || p.Record == other.Record && p.Index < other.Index
}

// isLast reports whether in is the last message, handled again.
func (m memory) isLast(in *rule.Message) bool {
	return m.Message == ident.ID(in.ID) && m.Index == in.Index
}

// isPast reports whether in has been handled, and others after it.
func (m memory) isPast(in *rule.Message) bool {
	at, known := m.Places[in.Queue]
	return known && in.Record > 0 && !m.isLast(in) && in.ReceivedAt <= m.Received && !at.before(place{in.Record, in.Index})
}

// before is the progress before in.
func (m memory) before(in *rule.Message) map[string]progress {
	if m.isLast(in) {
		return m.Before
	}
	return m.Now
}

// after is the memory of in, which took the rules from m.before(in) to now.
func (m memory) after(in *rule.Message, now map[string]progress) memory {
	next := memory{
		Message: ident.ID(in.ID), Index: in.Index, Places: m.Places, Received: max(m.Received, in.ReceivedAt),
		Before: m.before(in), Now: now, tenure: m.tenure,
	}
	if in.Record > 0 {
		next.Places = maps.Clone(m.Places)
		if next.Places == nil {
			next.Places = map[string]place{}
		}
		next.Places[in.Queue] = place{in.Record, in.Index}
	}
	return next
}

// attribute is under which name the memory of a device is kept. It is an attribute of the device so that it is stored as what devices
// send is: together with all that the partition stores, by its owner, and by nobody who was the owner before (storage.Write.Stamp).
func (n *node) attribute() string { return "device-profile/" + n.services.Node.String() }

// recall returns what is known of in's device.
func (n *node) recall(ctx context.Context, in *rule.Message, tenure ident.ID) (memory, error) {
	if m, ok := n.devices.Get(in.Originator); ok && m.tenure == tenure {
		return m, nil
	}
	m := memory{tenure: tenure}
	if !n.persist {
		return m, nil
	}
	kept, err := n.services.Values.Attributes(ctx, in.Originator, storage.RuleNode, []string{n.attribute()})
	if err != nil {
		return m, fmt.Errorf("read the state of alarm rules: %w", err)
	}
	if len(kept) > 0 {
		if err := json.Unmarshal([]byte(kept[0].Value.Text()), &m); err != nil {
			return m, fmt.Errorf("read the state of alarm rules: %w", err)
		}
	}
	return m, nil
}

// remember keeps m; a change of the rules' progress durably, before anything goes on.
func (n *node) remember(in *rule.Message, turn *rule.Turn, m memory) error {
	n.devices.Put(in.Originator, m)
	if !n.persist || maps.Equal(m.Before, m.Now) {
		return nil
	}
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write the state of alarm rules: %w", err)
	}
	turn.Save(telemetry.Save{
		Tenant: in.Tenant, Silent: true,
		Write: storage.Write{
			Entity: in.Originator, Scope: storage.RuleNode, Time: n.services.Now().UnixMilli(),
			Values: []values.KeyValue{{Key: n.attribute(), Value: values.OfString(string(text))}},
		},
	})
	return nil
}
