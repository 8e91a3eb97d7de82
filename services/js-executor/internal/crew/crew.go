// Package crew is the processes that run scripts, as their executor has them: who gets which call, who waited too long, who
// is replaced. It is fair to tenants, and a call that takes its process down takes no other call with it.
package crew

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/script"
	"github.com/sluice-iot/sluice/services/js-executor/internal/child"
)

// Limits bound a crew.
type Limits struct {
	Children    int // processes, at most
	Window      int // calls given to one process at once
	QueueCalls  int // calls that wait, over all
	QueueBytes  int
	TenantCalls int // of them one tenant's
	TenantBytes int
	Bodies      int // scripts whose text is kept
	BodyBytes   int
	Idle        time.Duration // after this long without calls the processes end
	Stuck       time.Duration // a call that has run this long gets its process to itself
	Grace       time.Duration // how long a process may take to stop a call by itself
	Start       time.Duration // how long a process may take to be ready
}

// Options are what a crew rests on.
type Options struct {
	Limits Limits
	// Command starts a child; Child are its settings, which follow.
	Command []string
	Child   child.Settings
	Log     *slog.Logger
	Watcher Watcher
}

// Watcher is told what happens; it must not block.
type Watcher interface {
	Ended(c *script.Call, a *script.Answer) // a call was answered; its text belongs to the answer
	Expired()                               // a call's caller has gone before it was run
	Waiting(calls, bytes int)               // how much waits now
	Children(count int)
	Killed(why script.Outcome)
	Died() // a process ended by itself
}

// Crew runs calls. It is safe for concurrent use.
type Crew struct {
	o Options

	mu       sync.Mutex
	number   uint64
	calls    map[uint64]*call
	tenants  map[ident.TenantID]*tenant
	turn     []*tenant // those with waiting calls, the next to be served first
	waiting  int
	bytes    int
	workers  []*worker
	starting int
	noStart  time.Time // not before
	failed   error     // why the last start failed
	bodies   bodies
	paces    paces
	ended    []func() // to be called once mu is free
	busy     chan struct{}
	used     time.Time
	looked   time.Time // when calls were looked at last
	closed   bool

	life    context.Context
	end     context.CancelFunc
	running sync.WaitGroup
}

// New returns a crew without processes; they are started when there is something to do.
func New(o Options) *Crew {
	c := &Crew{
		o: o, calls: map[uint64]*call{}, tenants: map[ident.TenantID]*tenant{}, busy: make(chan struct{}, 1),
		bodies: newBodies(o.Limits.Bodies, o.Limits.BodyBytes), paces: newPaces(o.Limits.Bodies), used: time.Now(),
	}
	c.life, c.end = context.WithCancel(context.Background())
	return c
}

// Texts of answers that do not come from a child.
const (
	textPending = "Too many calls of this tenant's scripts are waiting"
	textBody    = "SyntaxError: the script's text is not the one its id was made of"
)

// Submit takes a call on and returns at once. done is called exactly once, briefly, with the answer, or nil when the call's budget ended before it
// was run: nobody waits then. age is how much of the budget has passed.
func (c *Crew) Submit(request script.Call, age time.Duration, done func(*script.Answer)) {
	k := &call{Call: request, caller: request.ID, deadline: time.Now().Add(request.Budget - age), done: done}
	k.size = len(request.Body)
	for _, a := range request.Args {
		k.size += len(a)
	}
	c.mu.Lock()
	defer c.release()
	c.used = time.Now()
	switch {
	case k.deadline.Before(c.used) || c.closed:
		c.expire(k)
		return
	case request.Body != "" && script.Identify(request.Tenant, request.Parameters, request.Body) != request.Script:
		c.finish(k, &script.Answer{Outcome: script.Compilation, Text: textBody})
		return
	case request.Body != "":
		c.bodies.put(request.Script, request.Parameters, request.Body)
		k.Body, k.Parameters = "", nil
	case !c.bodies.has(request.Script):
		c.finish(k, &script.Answer{Outcome: script.NotFound})
		return
	}
	t := c.tenant(request.Tenant)
	if l := &c.o.Limits; c.waiting >= l.QueueCalls || c.bytes+k.size > l.QueueBytes || t.calls >= l.TenantCalls || t.bytes+k.size > l.TenantBytes {
		c.finish(k, &script.Answer{Outcome: script.Pending, Text: textPending})
		return
	}
	c.number++
	k.ID, k.tenant = c.number, t
	c.calls[k.ID] = k
	t.calls++
	t.bytes += k.size
	c.wait(k, false)
	c.dispatch()
}

// release frees the lock and then tells whoever has to know; nobody is told under the lock.
func (c *Crew) release() {
	ended := c.ended
	c.ended = nil
	waiting, bytes := c.waiting, c.bytes
	c.mu.Unlock()
	c.o.Watcher.Waiting(waiting, bytes)
	for _, tell := range ended {
		tell()
	}
}

// finish answers a call. mu is held.
func (c *Crew) finish(k *call, a *script.Answer) {
	if k.over {
		return
	}
	c.leave(k)
	a.ID = k.caller
	c.ended = append(c.ended, func() {
		c.o.Watcher.Ended(&k.Call, a)
		k.done(a)
	})
}

// expire drops a call nobody waits for any more. mu is held.
func (c *Crew) expire(k *call) {
	if k.over {
		return
	}
	c.leave(k)
	c.ended = append(c.ended, func() {
		c.o.Watcher.Expired()
		k.done(nil)
	})
}

// Probe starts one process and ends it: it returns how scripts are shut in, or why they cannot be run.
func (c *Crew) Probe(ctx context.Context) (how string, err error) {
	w, err := c.launch(ctx)
	if err != nil {
		return "", err
	}
	return w.how, w.end()
}

// Run watches over the processes until ctx ends; then it waits for calls that run, at most for drain, and ends the processes.
func (c *Crew) Run(ctx context.Context, drain time.Duration) error {
	c.watch(ctx)
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	for c.pending() > 0 && patience.Err() == nil {
		c.look()
		pause(patience, tick)
	}
	c.mu.Lock()
	c.closed = true
	for _, k := range c.calls {
		c.expire(k)
	}
	for _, w := range c.workers {
		w.close()
	}
	c.release()
	c.end()
	c.running.Wait()
	return nil
}

func (c *Crew) pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.calls)
}

// pause waits, or less when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// startWorker starts a process beside everything else. mu is held.
func (c *Crew) startWorker() {
	if c.closed || len(c.workers)+c.starting >= c.o.Limits.Children || time.Now().Before(c.noStart) {
		return
	}
	c.starting++
	c.running.Go(func() {
		w, err := c.launch(c.life)
		c.mu.Lock()
		c.starting--
		c.failed = err
		switch {
		case err != nil && c.life.Err() == nil:
			c.noStart = time.Now().Add(restartPause)
			c.o.Log.Error("start a process for scripts", "err", err)
		case err == nil:
			c.workers = append(c.workers, w)
			c.running.Go(w.write)
			c.running.Go(w.read)
			if c.closed {
				w.close()
			}
			c.o.Watcher.Children(len(c.workers))
			c.dispatch()
		}
		c.release()
	})
}

// restartPause keeps a process that cannot be started from being tried all the time.
const restartPause = time.Second

// Ready returns nil while processes can be started.
func (c *Crew) Ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil && len(c.workers) == 0 && !errors.Is(c.failed, context.Canceled) {
		return fmt.Errorf("scripts' processes do not start: %w", c.failed)
	}
	return nil
}

// Processes returns the ids of the processes that run scripts now.
func (c *Crew) Processes() (ids []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.workers {
		ids = append(ids, w.cmd.Process.Pid)
	}
	return ids
}

// Texts returns how many scripts' texts are kept.
func (c *Crew) Texts() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.bodies.byID)
}
