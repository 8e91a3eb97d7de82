package rulenodetest

import (
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// Outcome is what a node made of a message. All of it can be compared with cmp.Diff.
type Outcome struct {
	Emitted []Emitted
	Saved   []Saved
	Final   bool
	// Away is the text of an error that is the platform's: the node would be called again.
	Away string
}

// Emitted is a message on its way out. Fields that say where it went are zero when it went along Relation.
type Emitted struct {
	Relation   rule.Relation
	Type, Data string
	Metadata   map[string]string
	Originator ident.EntityID
	Err        string // on Failure: why

	Entered  ident.ID  // the chain
	Queue    string    // the queue; Requeued tells the main one, "", from none
	Due      time.Time // when it goes on
	Place    ident.ID  // where it gives way to the next
	Yields   bool      // or what is there stays
	Again    bool      // to the node itself
	Requeued bool
	Raised   bool
	Returned bool
	Asked    *rule.Request // of the originator
	Answered *rule.Answer  // to a session of the originator
}

// Saved is one write. Values is a JSON object.
type Saved struct {
	Entity                                                                ident.EntityID
	Scope                                                                 storage.Scope
	Time                                                                  int64
	TTL                                                                   time.Duration
	Values                                                                string
	SkipHistory, SkipLatest, OnlyChanged, Silent, LiveOnly, NotifyDevices bool
}

// Process hands in to node and says what came of it, as the engine takes it: an error is the
// message on its way along Failure.
func (b *Bench) Process(node rule.Node, in *rule.Message) Outcome {
	b.t.Helper()
	turn := &rule.Turn{}
	err := node.Process(b.t.Context(), in, turn)
	switch {
	case err != nil && rule.PlatformFault(err):
		return Outcome{Away: err.Error()}
	case err != nil:
		turn = &rule.Turn{}
		turn.Fail(in, err)
	}
	return OutcomeOf(turn)
}

// Tick is Process for what a node makes by itself.
func (b *Bench) Tick(node rule.Node, state []byte) (out Outcome, again time.Duration, next []byte) {
	b.t.Helper()
	source, ok := node.(rule.Source)
	if !ok {
		b.t.Fatalf("%T makes no messages by itself", node)
	}
	turn := &rule.Turn{}
	again, next, err := source.Tick(b.t.Context(), state, turn)
	if err != nil {
		b.t.Fatal(err)
	}
	return OutcomeOf(turn), again, next
}

// OutcomeOf says what was put into turn.
func OutcomeOf(turn *rule.Turn) Outcome {
	out := Outcome{Final: turn.IsFinal()}
	for _, e := range turn.Emissions() {
		m := e.Message
		emitted := Emitted{
			Relation: e.Relation, Type: m.Type, Data: m.Body.Text(), Metadata: m.Metadata.All(), Originator: m.Originator,
			Raised: e.Raised(), Returned: e.Returned(),
		}
		if e.Err != nil {
			emitted.Err = e.Err.Error()
		}
		emitted.Entered, _ = e.Entered()
		emitted.Queue, emitted.Requeued = e.Requeued()
		emitted.Due, _ = e.Due()
		emitted.Place, emitted.Yields = e.Place()
		emitted.Again = !emitted.Due.IsZero() && e.Relation == ""
		if r, ok := e.Asked(); ok {
			emitted.Asked = &r
		}
		if a, ok := e.Answered(); ok {
			emitted.Answered = &a
		}
		out.Emitted = append(out.Emitted, emitted)
	}
	for _, s := range turn.Saves() {
		out.Saved = append(out.Saved, Saved{
			Entity: s.Entity, Scope: s.Scope, Time: s.Time, TTL: s.TTL, Values: string(telemetry.AppendObject(nil, s.Values)),
			SkipHistory: s.SkipHistory, SkipLatest: s.SkipLatest, OnlyChanged: s.OnlyChanged, Silent: s.Silent, LiveOnly: s.LiveOnly, NotifyDevices: s.Notify,
		})
	}
	return out
}

// Relations is the relations of what was emitted, in order.
func (o Outcome) Relations() []rule.Relation {
	var relations []rule.Relation
	for _, e := range o.Emitted {
		relations = append(relations, e.Relation)
	}
	return relations
}

// Failed returns why the only message there is went along Failure; ok is false if that is not what happened.
func (o Outcome) Failed() (why string, ok bool) {
	if len(o.Emitted) != 1 || o.Emitted[0].Relation != rule.Failure {
		return "", false
	}
	return o.Emitted[0].Err, true
}
