// Package intake is the executor's side of the bus: it reads calls, hands them to whoever runs them, and sends the answers back.
package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/script"
)

// Bus is what intake needs of the bus.
type Bus interface {
	bus.Publisher
	bus.Member
	Age(r bus.Record) time.Duration
}

// Crew runs calls.
type Crew interface {
	Submit(c script.Call, age time.Duration, done func(*script.Answer))
}

// Watcher is told what happens; it must not block.
type Watcher interface {
	Record(calls int)    // a record was read
	Malformed(err error) // a record is not one of calls
	Unsent(answers int)  // answers were dropped: their caller's topic takes no more
}

// Options are what intake rests on.
type Options struct {
	Bus        Bus
	Crew       Crew
	Name       string // of this executor
	ReplyBytes int
	Timeout    time.Duration // the longest a call may run
	Log        *slog.Logger
	Watcher    Watcher
}

// Intake reads and answers.
type Intake struct {
	o       Options
	replies replies
	commits commits
}

// New returns an intake that reads nothing yet.
func New(o Options) *Intake {
	i := &Intake{o: o, replies: replies{o: &o, topics: map[string]*reply{}}}
	i.commits.wake = make(chan struct{}, 1)
	return i
}

// readAtOnce bounds the records taken from a partition at once.
const readAtOnce = 256

// Run reads until ctx ends.
func (i *Intake) Run(ctx context.Context, group bus.Group) error {
	var committing sync.WaitGroup
	committing.Go(func() { i.commits.run(ctx, i.o.Log) })
	defer committing.Wait()
	return i.o.Bus.Join(ctx, group, i.read)
}

// read is one partition.
func (i *Intake) read(ctx context.Context, r bus.Reader) (err error) {
	t := &tracker{reader: r}
	i.commits.add(t)
	defer func() {
		i.commits.drop(t)
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if commitErr := t.commit(last); commitErr != nil {
			i.o.Log.Debug("commit what was answered", "err", commitErr) // it is read again, and its callers take the first answer
		}
	}()
	for {
		records, err := r.Read(ctx, readAtOnce)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("read calls: %w", err)
		}
		for n := range records {
			i.take(t, &records[n])
		}
	}
}

var errReply = errors.New("calls without a reply topic")

// take hands a record's calls on.
func (i *Intake) take(t *tracker, r *bus.Record) {
	reply, calls, err := script.DecodeCalls(r.Value)
	if err == nil && !strings.HasPrefix(reply, topics.CoreResponses) {
		err = errReply
	}
	if err != nil {
		i.o.Watcher.Malformed(err)
		calls = nil
	}
	i.o.Watcher.Record(len(calls))
	done := t.begin(r.Offset, len(calls))
	age := i.o.Bus.Age(*r)
	for n := range calls {
		c := &calls[n]
		if c.Timeout <= 0 || c.Timeout > i.o.Timeout {
			c.Timeout = i.o.Timeout
		}
		i.o.Crew.Submit(*c, age, func(a *script.Answer) {
			if a != nil {
				i.replies.add(reply, a)
			}
			if done() {
				i.commits.rouse()
			}
		})
	}
	if len(calls) == 0 && done() {
		i.commits.rouse()
	}
}
