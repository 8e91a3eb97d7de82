package ingest

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rpc"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

// question is a message of a rule chain that waits for its device's answer. It is kept as a timer that rings after the request has
// expired, and then goes along Failure: so it does if this process ends.
type question struct {
	rule.Asking
	timer timer
	// stored: the timer is in the store, and entered; answered, and with what.
	stored   bool
	answered bool
	outcome  rpc.Outcome
}

// questionGrace is how long after its request a question rings: by then this process has gone on with it.
const questionGrace = 1000

// questionsAtOnce is how many timers are stored side by side.
const questionsAtOnce = 16

// ask implements rule.Options.Ask.
func (p *partition) ask(ctx context.Context, a rule.Asking) (*rule.Reply, error) {
	m, r := a.Message, a.Request
	device := ident.DeviceID{ID: m.Originator.ID}
	if _, err := p.device(ctx, m.Tenant, device); err != nil {
		if isGone(err) {
			return failed(rpc.NotFound), nil
		}
		return nil, err
	}
	if err := p.requests.ready(ctx, m.Tenant, device, r.Persistent); err != nil {
		return nil, err
	}
	now := millis(p.d.Now())
	record := rpc.Record{
		ID: r.ID, Tenant: m.Tenant, Device: device, Method: r.Method, Params: r.Params, OneWay: r.OneWay, Persistent: r.Persistent,
		Created: now, Expires: min(r.Expires, now+p.c.RPC.Longest.Milliseconds()), Retries: r.Retries, AdditionalInfo: r.AdditionalInfo,
	}
	var then func(rpc.Outcome)
	q := &question{Asking: a, timer: timer{due: record.Expires + questionGrace, id: ident.New()}}
	if a.Position != nil && !r.Persistent {
		if p.timers.full() {
			return nil, errTooMany
		}
		then = func(o rpc.Outcome) {
			if q.answered, q.outcome = true, o; q.stored {
				p.timers.withdraw(q.timer)
			}
			p.requests.goingOn = append(p.requests.goingOn, q)
		}
	}
	outcome, err := p.requests.desk.Ask(record, then)
	switch {
	case err != nil:
		return nil, err
	case outcome != nil:
		return replyOf(*outcome), nil
	case then != nil:
		p.requests.later = append(p.requests.later, q)
	}
	return nil, nil //nolint:nilnil // the device is waited for
}

func replyOf(o rpc.Outcome) *rule.Reply {
	if o.Error != "" {
		return failed(o.Error)
	}
	if o.Payload == "" {
		o.Payload = "{}"
	}
	return &rule.Reply{Body: o.Payload}
}

func failed(e rpc.Error) *rule.Reply {
	return &rule.Reply{Body: `{"error":"` + string(e) + `"}`, Failed: fmt.Errorf("request to the device: %s", e)}
}

// onward is the message as it goes on after o.
func (q *question) onward(o rpc.Outcome) rule.Onward {
	reply, relation := replyOf(o), rule.Success
	if reply.Failed != nil {
		relation = rule.Failure
	}
	m, at := *q.Message, *q.Position
	m.Body, at.Relation = rule.TextBody(reply.Body), relation
	return rule.Onward{Message: &m, Position: &at, Executions: q.Executions, Queue: q.Queue}
}

func (p *partition) keepQuestion(ctx context.Context, q *question, o rpc.Outcome) error {
	value, err := proto.Marshal(onwardMessage(q.onward(o)))
	if err != nil {
		return fmt.Errorf("encode a rule message: %w", err)
	}
	return p.steady(ctx, "store a timer", func() error { return p.timers.store(ctx, q.timer, value) })
}

// storeQuestions keeps the messages that wait for devices, and starts those that do no more. Both are stored first, side by side: an
// answer is not lost when the process ends before the message has its fate.
func (q *requests) storeQuestions(ctx context.Context) error {
	later, goingOn := q.later, q.goingOn
	q.later, q.goingOn = nil, nil
	group, storing := errgroup.WithContext(ctx)
	group.SetLimit(questionsAtOnce)
	for _, one := range later {
		if !one.answered {
			group.Go(func() error { return q.p.keepQuestion(storing, one, rpc.Outcome{Error: rpc.Timeout}) })
		}
	}
	for _, one := range goingOn {
		group.Go(func() error { return q.p.keepQuestion(storing, one, one.outcome) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, one := range later {
		if !one.answered {
			one.stored = true
			q.p.timers.enter(one.timer)
		}
	}
	for _, one := range goingOn {
		if err := q.goOn(ctx, one); err != nil {
			return err
		}
	}
	return nil
}

// goOn starts a message whose device was heard of. The timer it was kept as is forgotten with its fate.
func (q *requests) goOn(ctx context.Context, one *question) error {
	o := one.onward(one.outcome)
	m := *o.Message
	m.Queue = o.Queue
	q.p.ringing++
	return q.p.begin(ctx, &rule.Flight{
		Owner: &place{record: -1, timer: one.timer}, Position: o.Position, Executions: o.Executions, Message: m,
	})
}
