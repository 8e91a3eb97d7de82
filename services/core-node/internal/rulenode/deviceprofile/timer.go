package deviceprofile

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/raised"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// periodic is the type of what is no message, but the time to look at rules that measure time.
const periodic = "DEVICE_PROFILE_PERIODIC_SELF_MSG"

// A time that comes more than late after it was due, because nobody had the partition or it was behind, comes again after grace: messages
// that came meanwhile, and may say that a rule holds no longer, go first.
const (
	late  = 2 * time.Second
	grace = 5 * time.Second
)

// arm has the node look at in's device again when the first of its rules has held long enough. There is one such time for each device:
// a later one gives way.
func (n *node) arm(in *rule.Message, turn *rule.Turn, due int64) {
	if due == 0 {
		return
	}
	next := *in
	next.ID, next.Index, next.Record = values.MessageID(raised.ID(n.services, in, periodic)), 0, 0
	next.Type, next.Body = periodic, rule.TextBody("{}")
	n.again(turn, &next, due)
}

func (n *node) again(turn *rule.Turn, m *rule.Message, due int64) {
	m.Time, m.Metadata = due, m.Metadata.With("ts", strconv.FormatInt(due, 10))
	turn.Again(ident.Derive(m.Originator.ID, n.attribute()), time.UnixMilli(due), m)
}

// tick looks at the rules that measure time: in is such a time. It goes by what messages have left, and says no more than that.
func (n *node) tick(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	now := n.services.Now()
	if in.Index == 0 && now.Sub(time.UnixMilli(in.Time)) > late {
		next := *in
		next.Index = 1
		n.again(turn, &next, now.Add(grace).UnixMilli())
		return nil
	}
	r, err := n.rulesOf(ctx, in)
	if errors.Is(err, storage.ErrNotFound) {
		return nil // the device is gone
	}
	if err != nil || !r.remembers {
		return err
	}
	s := &snapshot{services: n.services, device: in.Originator, at: now.UnixMilli(), known: map[key]values.Value{}, occasion: timer}
	if err := s.stored(ctx, r); err != nil {
		return err
	}
	return n.evaluate(ctx, in, turn, r, s)
}
