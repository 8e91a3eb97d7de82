package ingest

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/queue"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/trace"
)

// errTimedOut is what ends a message that took longer than its queue allows.
var errTimedOut = errors.New("the message was not done with in time")

// finished implements rule.Options.Finished.
func (p *partition) finished(f *rule.Flight) (again bool) {
	at := f.Owner.(*place)
	at.running = false
	if at.generator != nil {
		p.generated(f, at.generator)
		if f.Err() != nil {
			p.traces.Note(f, trace.Retried, p.d.Now())
		}
		p.tally.processed++
		return false
	}
	q := p.queueOf(f)
	if at.pack != nil && at.record >= 0 && q.ByPack() {
		p.endRound(at.pack, q)
		return false
	}
	if p.retriable(q, f) && p.retries.admit(f, p.c.Window/4) {
		p.traces.Note(f, trace.Retried, p.d.Now())
		p.retryLater(q, f)
		return true
	}
	p.conclude(f)
	return false
}

// retriable reports whether q tries f again.
func (p *partition) retriable(q *queue.Queue, f *rule.Flight) bool {
	if f.Err() == nil || f.Final() {
		return false
	}
	failed, timedOut := q.RetriesOf()
	if errors.Is(f.Err(), errTimedOut) {
		failed = timedOut
	}
	return failed && (q.Retries == queue.Unlimited || f.Attempts <= q.Retries)
}

func (p *partition) retryLater(q *queue.Queue, f *rule.Flight) {
	pause := min(q.Pause<<min(f.Attempts-1, 16), max(q.MaxPause, q.Pause))
	heap.Push(&p.retries, pending{f, p.d.Now().Add(pause)})
}

// conclude gives f its fate: done with, or a dead letter.
func (p *partition) conclude(f *rule.Flight) {
	if f.Err() != nil {
		p.traces.Note(f, trace.DeadLetter, p.d.Now())
		p.failed = append(p.failed, f)
		return
	}
	p.traces.Note(f, trace.Processed, p.d.Now())
	p.tally.processed++
	if f.Message.Type == rule.PostTelemetry {
		p.tally.stored++
	}
	p.close(f)
}

// close ends the pack's wait for f.
func (p *partition) close(f *rule.Flight) {
	p.retries.leave(f)
	p.pass(f)
	if one := f.Owner.(*place).timer; !one.id.IsZero() {
		p.ringing--
		p.rung = append(p.rung, one)
	}
	if pk := f.Owner.(*place).pack; pk != nil {
		pk.open--
	}
}

// endRound notes that one more of a pack's flights has ended, of a queue that decides by packs. With the last
// one, it decides.
func (p *partition) endRound(pk *pack, q *queue.Queue) {
	if pk.running--; pk.running > 0 {
		return
	}
	var ended []*rule.Flight
	failures := 0
	for i := range pk.flights {
		if f := &pk.flights[i]; f.Attempts > 0 && !pk.places[i].concluded {
			ended = append(ended, f)
			if f.Err() != nil {
				failures++
			}
		}
	}
	all := q.Processing == queue.RetryAll && failures > 0
	tooMany := q.FailurePercentage > 0 && float64(failures)*100 > q.FailurePercentage*float64(len(ended))
	for _, f := range ended {
		retried := p.retriable(q, f) || all && !f.Final() && (q.Retries == queue.Unlimited || f.Attempts <= q.Retries)
		if !tooMany && retried && p.retries.admit(f, p.c.Window/4) {
			pk.running++
			p.traces.Note(f, trace.Retried, p.d.Now())
			p.retryLater(q, f)
			continue
		}
		f.Owner.(*place).concluded = true
		p.conclude(f)
	}
}

// late ends the flights that take longer than their queue allows. Only the work of nodes counts: whoever stands in line, or waits for
// the platform, is late by no fault of the message's.
func (p *partition) late(ctx context.Context) error {
	if p.away() {
		return nil
	}
	now := p.d.Now()
	healthy := time.UnixMicro(p.healthy.Load())
	for _, s := range p.sources {
		if s.queue == nil || now.Sub(healthy) <= s.queue.Timeout {
			continue
		}
		for _, pk := range s.inOrder {
			if pk.open == 0 || now.Sub(pk.began) <= s.queue.Timeout {
				continue
			}
			for i := range pk.flights {
				f := &pk.flights[i]
				if !pk.places[i].running || f.Worked(now) <= s.queue.Timeout {
					continue
				}
				if err := p.engine.Cancel(ctx, f, fmt.Errorf("%w: %v", errTimedOut, s.queue.Timeout)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
