package ingest

import (
	"container/heap"
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/deadletter"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

// tally counts fates until the next settle.
type tally struct {
	taken, processed, dead, refused, retried, stored int
}

func (t *tally) publish(m *Metrics, inHand *int) {
	if *t == (tally{}) {
		return
	}
	change := t.taken - t.processed - t.dead - t.refused
	*inHand += change
	m.taken.Add(float64(t.taken))
	m.processed.Add(float64(t.processed))
	m.dead.Add(float64(t.dead))
	m.refused.Add(float64(t.refused))
	m.retried.Add(float64(t.retried))
	m.stored.Add(float64(t.stored))
	m.inHand.Add(float64(change))
	*t = tally{}
}

// letter is a dead letter on its way, and what waits for it.
type letter struct {
	wire *sluicepb.DeadLetter
	then func()
}

// bury makes letters of all that failed and waits until the bus has them.
func (p *partition) bury(ctx context.Context) error {
	for _, f := range p.failed {
		l, err := p.letterOf(f)
		if err != nil {
			return err
		}
		p.letters = append(p.letters, letter{l, func() { p.close(f) }})
	}
	p.failed = p.failed[:0]
	wires := make([]*sluicepb.DeadLetter, len(p.letters))
	for i, l := range p.letters {
		wires[i] = l.wire
	}
	err := p.steady(ctx, "publish dead letters", func() error { return p.d.Letters.Write(ctx, wires...) })
	if err != nil {
		return err
	}
	buried := p.letters
	p.letters = nil
	for _, l := range buried {
		p.tally.dead++
		l.then()
	}
	return nil
}

// buryRecord makes a letter of a record that is no message.
func (p *partition) buryRecord(pk *pack, i int, where string, err error) {
	pk.open++
	l := p.letterOfRecord(&pk.records[i], -1)
	l.Error, l.Where, l.Attempts = err.Error(), where, 1
	p.letters = append(p.letters, letter{l, func() { pk.open-- }})
}

func (p *partition) letterOfRecord(r *bus.Record, index int) *sluicepb.DeadLetter {
	id := deadletter.NewID(*r, index)
	return &sluicepb.DeadLetter{
		Id: id[:], Topic: r.Topic, Partition: int32(r.Partition), Offset: r.Offset, Key: r.Key, Value: r.Value,
		Kind: header(r, topics.KindHeader), RecordIndex: int32(index), FailedAtMs: p.d.Now().UnixMilli(),
	}
}

func (p *partition) letterOf(f *rule.Flight) (*sluicepb.DeadLetter, error) {
	m, at := &f.Message, f.Owner.(*place)
	var l *sluicepb.DeadLetter
	switch {
	case at.record < 0: // an event of ours: no record holds it
		value, err := proto.Marshal(onwardMessage(rule.Onward{Message: m, Position: f.Position, Executions: f.Executions, Queue: m.Queue}))
		if err != nil {
			return nil, fmt.Errorf("encode a rule message: %w", err)
		}
		l = p.letterOfRecord(&bus.Record{Message: ruleRecord(m.Queue, m.Originator.ID, value)}, -1)
	case header(&at.pack.records[at.record], topics.KindHeader) == topics.KindRuleMessage:
		l = p.letterOfRecord(&at.pack.records[at.record], -1)
	default:
		l = p.letterOfRecord(&at.pack.records[at.record], m.Index)
	}
	l.TenantId = m.Tenant.ID[:]
	l.Originator = &sluicepb.EntityId{Type: m.Originator.Type, Id: m.Originator.ID[:]}
	l.OriginatorName, _ = m.Metadata.Get("deviceName")
	l.Error, l.Where, l.Attempts = f.Err().Error(), f.Where(), int32(f.Attempts)
	return l, nil
}

// retries is the flights to be started again, the next one first. They are bounded: one tenant's
// failing messages hold at most a quarter of the window.
type retries struct {
	queue   []pending
	failing map[ident.TenantID]int
	timer   *time.Timer
}

type pending struct {
	flight *rule.Flight
	at     time.Time
}

func (r *retries) Len() int           { return len(r.queue) }
func (r *retries) Less(i, j int) bool { return r.queue[i].at.Before(r.queue[j].at) }
func (r *retries) Swap(i, j int)      { r.queue[i], r.queue[j] = r.queue[j], r.queue[i] }

// Push implements heap.Interface.
func (r *retries) Push(x any) { r.queue = append(r.queue, x.(pending)) }

// Pop implements heap.Interface.
func (r *retries) Pop() any {
	last := r.queue[len(r.queue)-1]
	r.queue = r.queue[:len(r.queue)-1]
	return last
}

// admit counts f among its tenant's failing messages, if there is room.
func (r *retries) admit(f *rule.Flight, most int) bool {
	if f.Attempts > 1 {
		return true // counted at its first failure
	}
	if r.failing[f.Message.Tenant] >= most {
		return false
	}
	r.failing[f.Message.Tenant]++
	return true
}

// leave takes f off the count, if it is in it.
func (r *retries) leave(f *rule.Flight) {
	if f.Attempts < 2 {
		return
	}
	if r.failing[f.Message.Tenant]--; r.failing[f.Message.Tenant] == 0 {
		delete(r.failing, f.Message.Tenant)
	}
}

// due is ready when the next flight is to be started; nil when there is none.
func (r *retries) due() <-chan time.Time {
	if len(r.queue) == 0 {
		return nil
	}
	wait := time.Until(r.queue[0].at)
	if r.timer == nil {
		r.timer = time.NewTimer(wait)
	} else {
		r.timer.Reset(wait)
	}
	return r.timer.C
}

// retry starts the flights whose time has come.
func (p *partition) retry(ctx context.Context) error {
	now := p.d.Now()
	for p.retries.Len() > 0 && !p.retries.queue[0].at.After(now) {
		f := heap.Pop(&p.retries).(pending).flight
		p.tally.retried++
		p.memo = memo{} // the chain may have been mended
		if err := p.launch(ctx, f); err != nil {
			return err
		}
	}
	return nil
}
