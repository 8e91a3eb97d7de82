package live_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
)

// line is a bus that keeps what is published, or refuses it.
type line struct {
	refuse, fail error
	sent         []*sluicepb.LiveUpdates
	topics       []string
}

func (l *line) Publish(m bus.Message, done func(error)) error {
	if l.refuse != nil {
		return l.refuse
	}
	update := &sluicepb.LiveUpdates{}
	if err := proto.Unmarshal(m.Value, update); err != nil {
		return err
	}
	if l.fail == nil {
		l.sent, l.topics = append(l.sent, update), append(l.topics, m.Topic)
	}
	done(l.fail)
	return nil
}

func (l *line) Room(string, []byte) <-chan struct{} { return nil }

func (l *line) take() []*sluicepb.LiveUpdates {
	sent := l.sent
	l.sent, l.topics = nil, nil
	return sent
}

func newAudience(l *line) *live.Audience {
	return live.NewAudience(live.AudienceOptions{Local: live.NewHub(), Bus: l, Node: "me", Partition: 3, Epoch: 7, Most: 1000})
}

func entities(n int) []ident.EntityID {
	all := make([]ident.EntityID, n)
	for i := range all {
		all[i] = ident.EntityID{Type: ident.Device, ID: ident.New()}
	}
	return all
}

func saved(e ident.EntityID, n int64) live.Update {
	return live.Update{Entity: e, Time: n, Values: []telemetry.KeyValue{{Key: "n", Value: telemetry.OfLong(n)}}}
}

func TestANodeGetsOneMessageForABatch(t *testing.T) {
	l := &line{}
	a := newAudience(l)
	e := entities(3)
	if begun := a.Watch("a", e[:2], time.Now()).GetBegun(); len(begun) != 2 {
		t.Errorf("begun: %v", begun)
	}
	a.Watch("b", e[1:2], time.Now())
	if answer := a.Watch("me", e, time.Now()); len(answer.GetBegun()) != 0 || answer.GetEpoch() != 7 {
		t.Errorf("itself is answered %v", answer)
	}
	if !a.Watched(e[0]) || !a.Watched(e[1]) || a.Watched(e[2]) || a.Len() != 3 {
		t.Error("it does not know who watches")
	}
	a.Publish([]live.Update{saved(e[0], 1), saved(e[1], 2), saved(e[2], 3), saved(e[0], 4)})
	got := map[string]int{}
	for i, m := range l.sent {
		got[l.topics[i]] += len(m.GetUpdates())
		if m.GetPartition() != 3 || m.GetEpoch() != 7 {
			t.Errorf("message %v", m)
		}
	}
	if len(l.sent) != 2 || got["tb.core.responses.a"] != 3 || got["tb.core.responses.b"] != 1 {
		t.Errorf("%d messages with updates %v", len(l.sent), got)
	}
}

func TestManyUpdatesAreSeveralMessages(t *testing.T) {
	l := &line{}
	a := newAudience(l)
	e := entities(1)
	a.Watch("a", e, time.Now())
	large := live.Update{Entity: e[0], Values: []telemetry.KeyValue{{Key: "k", Value: telemetry.OfString(string(make([]byte, 200<<10)))}}}
	a.Publish([]live.Update{large, large, large, large, large})
	updates := 0
	for _, m := range l.sent {
		updates += len(m.GetUpdates())
		if n := proto.Size(m); n > 1_000_000 {
			t.Errorf("a message of %d bytes", n)
		}
	}
	if len(l.sent) != 3 || updates != 5 {
		t.Errorf("%d messages with %d updates", len(l.sent), updates)
	}
}

// A node whose topic takes nothing is told nothing more, at no cost, until it can be told that it missed something.
func TestANodeThatMissedUpdatesIsToldSo(t *testing.T) {
	for name, broken := range map[string]line{
		"full": {refuse: bus.ErrFull}, "not acknowledged": {fail: bus.ErrDeadline}, "gone": {refuse: errors.Join(bus.ErrUnavailable)},
	} {
		t.Run(name, func(t *testing.T) {
			l := &line{}
			a := newAudience(l)
			e := entities(1)
			a.Watch("a", e, time.Now())
			a.Watch("b", e, time.Now())
			*l = broken
			a.Publish([]live.Update{saved(e[0], 1)})
			a.Tend(time.Now())
			*l = line{}
			a.Publish([]live.Update{saved(e[0], 2)})
			if sent := l.take(); len(sent) != 0 {
				t.Errorf("told %v before that something is missed", sent)
			}
			a.Tend(time.Now())
			sent := l.take()
			if len(sent) != 2 || !sent[0].GetMissed() || !sent[1].GetMissed() {
				t.Errorf("told %v", sent)
			}
			a.Tend(time.Now())
			a.Publish([]live.Update{saved(e[0], 3)})
			if sent := l.take(); len(sent) != 2 || sent[0].GetMissed() {
				t.Errorf("then told %v", sent)
			}
		})
	}
}

func TestWatchesAreForgottenUnlessRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAudience(&line{})
		e := entities(2)
		a.Watch("a", e, time.Now())
		for range 5 {
			time.Sleep(time.Minute)
			if begun := a.Watch("a", e[:1], time.Now()).GetBegun(); len(begun) != 0 {
				t.Errorf("begun anew: %v", begun)
			}
			a.Tend(time.Now())
		}
		if a.Len() != 1 || a.Watched(e[1]) {
			t.Errorf("%d watches after five minutes", a.Len())
		}
		a.Unwatch("a", e)
		a.Unwatch("nobody", e)
		if a.Len() != 0 || a.Watched(e[0]) {
			t.Error("it is watched still")
		}
	})
}

// What whoever saves pays for those who watch: nothing but a look-up while nobody does, here or elsewhere.
func BenchmarkSaved(b *testing.B) {
	for _, c := range []struct {
		name  string
		nodes []string
		e     int
	}{{"nobody watches", nil, 0}, {"others are watched", []string{"a"}, 1}, {"one node", []string{"a"}, 0}, {"three nodes", []string{"a", "b", "c"}, 0}} {
		b.Run(c.name, func(b *testing.B) {
			a := live.NewAudience(live.AudienceOptions{Local: live.NewHub(), Bus: nowhere{}, Node: "me", Most: 1000})
			e := entities(2)
			for _, node := range c.nodes {
				a.Watch(node, e[:1], time.Now())
			}
			u := live.Update{Entity: e[c.e], Time: 1, Values: []telemetry.KeyValue{
				{Key: "temperature", Value: telemetry.OfDouble(21.5)},
				{Key: "humidity", Value: telemetry.OfLong(40)},
				{Key: "status", Value: telemetry.OfString("running")},
			}}
			batch := []live.Update{u}
			b.ReportAllocs()
			for b.Loop() {
				if a.Watched(u.Entity) {
					a.Publish(batch)
				}
			}
		})
	}
}

// nowhere takes everything on.
type nowhere struct{}

func (nowhere) Publish(_ bus.Message, done func(error)) error { done(nil); return nil }
func (nowhere) Room(string, []byte) <-chan struct{}           { return nil }
