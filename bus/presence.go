package bus

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sluice-iot/sluice/bus/internal/record"
)

// ErrTaken is why Run ends when another live process has this one's node id.
var ErrTaken = errors.New("bus: another live process has this node id")

// presence finds out whether another process reads the same reply topic. Every process puts a hello with its instance
// number there as it starts; the order of hellos in the topic is the order of age. Who reads a hello behind its own
// answers that the name is taken, and the newcomer ends. A process that was killed answers nothing.
//
// A process that was halted (SIGSTOP, a frozen machine) past the grace and goes on answers a hello of long ago: by
// then the newcomer is established and answers that the other is gone; that one ends.
type presence struct {
	instance  [instanceBytes]byte
	greeted   bool // the own hello was read
	since     int64
	answers   chan []byte // notes to put into the topic
	taken     chan struct{}
	ended     bool
	successor atomic.Bool // somebody took the name over while this process was closing
	closing   atomic.Bool
}

// Kinds of notes. A note is its kind, the sender's instance, and the instance it is for.
const (
	noteHello = 'h' // I am here now; for nobody
	noteAlive = 'a' // I am still here: keeps sweepers away
	noteTaken = 't' // the name is mine
	noteGone  = 'g' // the name is mine by now

	instanceBytes = 16
	noteBytes     = 1 + 2*instanceBytes
	// presenceAnswers is how many notes may wait; a newcomer that gets no answer comes again with its next start.
	presenceAnswers = 16
)

func (p *presence) init() {
	_, _ = rand.Read(p.instance[:]) // never fails, by its documentation
	p.answers = make(chan []byte, presenceAnswers)
	p.taken = make(chan struct{})
}

func (p *presence) note(kind byte, to []byte) []byte {
	note := make([]byte, noteBytes)
	note[0] = kind
	copy(note[1:], p.instance[:])
	copy(note[1+instanceBytes:], to)
	return note
}

// isNote reports whether r is about presence.
func isNote(r *Record) bool {
	return len(r.Headers) == 1 && r.Headers[0].Key == record.Presence && len(r.Headers[0].Value) == noteBytes
}

// hear takes in a note found in the own reply topic at the given time of the client's clock. It is called by the one who reads the topic.
func (p *presence) hear(note []byte, now int64, grace time.Duration) {
	from, to := note[1:1+instanceBytes], note[1+instanceBytes:]
	own := bytes.Equal(from, p.instance[:])
	switch kind := note[0]; {
	case kind == noteHello && own:
		if !p.greeted {
			p.greeted, p.since = true, now
		}
	case kind == noteHello && p.greeted && p.closing.Load():
		p.successor.Store(true)
	case kind == noteHello && p.greeted:
		p.answer(noteTaken, from)
	case own || !bytes.Equal(to, p.instance[:]):
	case kind == noteTaken && p.greeted && now-p.since > int64(grace):
		p.answer(noteGone, from)
	case (kind == noteTaken || kind == noteGone) && !p.ended:
		p.ended = true
		close(p.taken)
	}
}

func (p *presence) answer(kind byte, to []byte) {
	select {
	case p.answers <- p.note(kind, to):
	default:
	}
}

// showPresence puts the hello, the answers to others' and a sign of life now and then into the reply topic, until the client ends.
func (c *Client) showPresence() {
	p := &c.inbox.presence
	c.putNote(p.note(noteHello, nil))
	every := max(min(c.config.ReplyRetention/4, c.config.ReplyAbandoned/sweepLooks), time.Millisecond)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-c.life.Done():
			return
		case note := <-p.answers:
			c.putNote(note)
		case <-ticker.C:
			c.putNote(p.note(noteAlive, nil))
		}
	}
}

// putNote publishes a note beside the queues, which come and go with use and are closed before the inbox is.
func (c *Client) putNote(note []byte) {
	pause := newBackoff()
	for {
		err := c.tryNote(c.life, note)
		if err == nil || c.life.Err() != nil {
			return
		}
		c.log.Debug("put a sign of life", "topic", c.inbox.topic, "err", err)
		if pause.wait(c.life) != nil {
			return
		}
	}
}

func (c *Client) tryNote(ctx context.Context, note []byte) (err error) {
	conn, err := c.dialer.Leader(ctx, c.inbox.topic, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	var batch record.Batch
	batch.Append(nil, nil, []record.Header{{Key: record.Presence, Value: note}}, time.Now().UnixMilli())
	if err = conn.Produce(ctx, c.inbox.topic, 0, batch.Seal()); err != nil {
		c.dialer.Forget(c.inbox.topic)
	}
	return err
}

// nameTaken returns the error of a process whose name another has.
func (c *Client) nameTaken() error {
	return fmt.Errorf("node id %q (reply topic %s): %w", c.options.Node, c.inbox.topic, ErrTaken)
}
