package script

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/script"
)

// recordBytes is how large a record of calls grows, unless one call is larger.
const recordBytes = 256 << 10

// post puts calls on the bus: one record per partition is under way at a time, and what is called meanwhile is the next.
type post struct {
	scripts *Scripts
	asking  singleflight.Group // how many partitions there are: of a thousand first calls, one asks

	mu         sync.Mutex
	partitions int // 0: not known yet
	outboxes   map[int]*outbox
	heard      []time.Time // when calls of each partition were answered last
	silent     []time.Time // when a call of each was seen to be without answer
}

// outbox is one partition's.
type outbox struct {
	records []record
	flying  bool
}

// record is one that waits.
type record struct {
	key   string
	value []byte
	calls []*call
}

func (p *post) init(s *Scripts) { p.scripts, p.outboxes = s, map[int]*outbox{} }

// learn finds out how many partitions there are.
func (p *post) learn() error {
	p.mu.Lock()
	known := p.partitions
	p.mu.Unlock()
	if known > 0 {
		return nil
	}
	_, err, _ := p.asking.Do("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), p.scripts.o.Config.Budget)
		defer cancel()
		count, err := p.scripts.o.Bus.Partitions(ctx, topics.ScriptRequests)
		if err != nil {
			return nil, fmt.Errorf("run script: %w: %w", bus.ErrUnavailable, err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.partitions == 0 { // who came just after the first to ask asked again
			p.partitions, p.heard, p.silent = count, make([]time.Time, count), make([]time.Time, count)
		}
		return nil, nil
	})
	return err
}

// send puts c where key leads. The script's text goes along when its executor is not known to have it, or withText says so.
func (p *post) send(c *call, key string, withText bool) error {
	if err := p.learn(); err != nil {
		return err
	}
	request := script.Call{
		ID: c.id, Script: c.of.id, Tenant: c.of.tenant, Args: c.args,
		Budget: c.budget - time.Since(c.began), Timeout: p.scripts.o.Config.Timeout, Compile: c.compile,
	}
	c.of.mu.Lock()
	first := !c.of.sent
	c.of.sent = true
	c.of.mu.Unlock()
	if first || withText || c.compile {
		request.Parameters, request.Body = c.of.parameters, c.of.body
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	at := bus.Partition([]byte(key), p.partitions)
	if p.avoids(at) && !(c.fresh() && p.probes(at)) {
		if other := p.other(c); other != "" {
			key, at = other, bus.Partition([]byte(other), p.partitions)
			request.Parameters, request.Body = c.of.parameters, c.of.body
		}
	}
	c.mu.Lock()
	c.key, c.tried, c.sent = key, append(c.tried, at), time.Now()
	c.mu.Unlock()
	o := p.outboxes[at]
	if o == nil {
		o = &outbox{}
		p.outboxes[at] = o
	}
	last := len(o.records) - 1
	if last < 0 || len(o.records[last].value)+c.size+len(request.Body) > recordBytes {
		o.records = append(o.records, record{key: key})
		last++
	}
	r := &o.records[last]
	r.value = script.AppendCall(r.value, &request)
	r.calls = append(r.calls, c)
	if o.flying {
		return nil
	}
	o.flying = true
	return p.publish(at, o)
}

// publish sends an outbox' next record. mu is held. The error is the bus' refusal, which the record's other calls are told, too.
func (p *post) publish(at int, o *outbox) error {
	for len(o.records) > 0 {
		r := o.records[0]
		o.records = o.records[1:]
		err := p.scripts.o.Bus.Publish(bus.Message{
			Topic: topics.ScriptRequests, Key: []byte(r.key), Value: script.AppendSource(r.value, p.scripts.o.Bus.ReplyTopic()),
		}, func(err error) {
			p.done(at, o, r, err)
		})
		if err == nil {
			return nil
		}
		err = fmt.Errorf("run script: %w", err)
		fail(r.calls, err)
		if len(o.records) == 0 {
			delete(p.outboxes, at)
			o.flying = false
			return err
		}
	}
	delete(p.outboxes, at)
	o.flying = false
	return nil
}

// done is told what became of a record.
func (p *post) done(at int, o *outbox, r record, err error) {
	if err != nil {
		fail(r.calls, fmt.Errorf("run script: %w", err))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.publish(at, o) // the calls of a record that is refused are told
}

func fail(calls []*call, err error) {
	for _, c := range calls {
		c.finish(ending{err: err})
	}
}

// alive remembers that whoever reads where c was sent answers.
func (p *post) alive(c *call) {
	c.mu.Lock()
	tried := c.tried
	c.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(tried) == 1 { // of several, nobody knows which
		p.heard[tried[0]] = time.Now()
	}
}

// avoidFor is how long calls keep away from a partition whose executor did not answer; then one call shows whether it does again.
const avoidFor = 2 * time.Second

// avoids reports whether the executor of a partition is likely to be gone: it has left a call unanswered and answered none since.
// mu is held.
func (p *post) avoids(at int) bool { return p.silent[at].After(p.heard[at]) }

// probes reports whether the next call to a partition that is avoided is the one that shows whether its executor is back; the
// others go on avoiding it meanwhile. mu is held.
func (p *post) probes(at int) bool {
	if time.Since(p.silent[at]) < avoidFor {
		return false
	}
	p.silent[at] = time.Now()
	return true
}

// answers reports whether the executor c was sent to has answered others within a time.
func (p *post) answers(c *call, within time.Duration) bool {
	c.mu.Lock()
	tried := c.tried
	c.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(tried)
	return n > 0 && time.Since(p.heard[tried[n-1]]) < within
}

// missed remembers that c got no answer from where it was sent last.
func (p *post) missed(c *call) {
	c.mu.Lock()
	tried := c.tried
	c.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(tried); n > 0 {
		p.silent[tried[n-1]] = time.Now()
	}
}

// candidates is how many partitions are looked at for one whose executor lives.
const candidates = 16

// elsewhere returns a key that leads c to a partition it was not sent to, the one that was heard of last.
func (p *post) elsewhere(c *call) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if key := p.other(c); key != "" {
		return key
	}
	return c.of.key
}

// other is elsewhere, or "" when there is nothing else. mu is held.
func (p *post) other(c *call) string {
	c.mu.Lock()
	tried := slices.Clone(c.tried)
	c.mu.Unlock()
	best, bestAt := "", time.Time{}
	for n := range candidates {
		key := fmt.Sprintf("%s#%d", c.of.key, len(tried)+n)
		at := bus.Partition([]byte(key), p.partitions)
		if slices.Contains(tried, at) || p.avoids(at) {
			continue
		}
		if best == "" || p.heard[at].After(bestAt) {
			best, bestAt = key, p.heard[at]
		}
	}
	return best
}
