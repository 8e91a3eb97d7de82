package ingest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/services/core-node/internal/queue"
)

// source is one owned partition of one topic: it reads packs, and commits once they are done with.
type source struct {
	topic  string
	queue  *queue.Queue // nil: of no rule messages
	reader bus.Reader
	// slots bounds the packs read and not done with.
	slots chan struct{}

	mu   sync.Mutex
	free []*pack

	// inOrder is the packs taken on and not committed, oldest first; the owner's own.
	inOrder []*pack

	// done is the newest offset that may be committed.
	done struct {
		sync.Mutex
		offset, stamp int64
		changed       chan struct{}
	}
}

func newSource(topic string, q *queue.Queue, reader bus.Reader, packs int) *source {
	s := &source{topic: topic, queue: q, reader: reader, slots: make(chan struct{}, packs)}
	s.done.offset = -1
	s.done.changed = make(chan struct{}, 1)
	return s
}

// read fills packs and hands them to the owner until ctx ends.
func (s *source) read(ctx context.Context, most int, decode func(*pack, []bus.Record), to chan<- *pack) error {
	for {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		records, err := s.reader.Read(ctx, most)
		if err != nil {
			<-s.slots
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("read %s: %w", s.topic, err)
		}
		p := s.take()
		decode(p, records)
		select {
		case to <- p:
		case <-ctx.Done():
			return nil
		}
	}
}

// take returns a pack to fill, the one used last if there is one: its memory is warm, and the
// others can be let go of.
func (s *source) take() *pack {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		p := s.free[n-1]
		s.free = s.free[:n-1]
		return p
	}
	return &pack{source: s}
}

// keepRecords is the largest pack whose memory is kept while only small ones come.
const keepRecords = 256

// recycle lets p be used again.
func (s *source) recycle(p *pack) {
	used := len(p.records)
	if cap(p.uplinks) > keepRecords && used < cap(p.uplinks)/16 {
		*p = pack{source: s}
	}
	p.records, p.broken = nil, nil
	s.mu.Lock()
	s.free = append(s.free, p)
	s.mu.Unlock()
	<-s.slots
}

// advance commits the packs at the front that are done with.
func (s *source) advance(stamp int64) {
	n := 0
	for n < len(s.inOrder) && s.inOrder[n].open == 0 {
		n++
	}
	if n == 0 {
		return
	}
	s.done.Lock()
	s.done.offset, s.done.stamp = s.inOrder[n-1].next, stamp
	s.done.Unlock()
	select {
	case s.done.changed <- struct{}{}:
	default:
	}
	for _, p := range s.inOrder[:n] {
		s.recycle(p)
	}
	s.inOrder = append(s.inOrder[:0], s.inOrder[n:]...)
}

// commits commits what advance allowed, at most once per interval, until stop is closed; what is left
// then is committed once more.
func (s *source) commits(ctx context.Context, interval time.Duration, stop <-chan struct{}, commit func(ctx context.Context, offset, stamp int64) error) error {
	committed := int64(-1)
	now := func() error {
		s.done.Lock()
		offset, stamp := s.done.offset, s.done.stamp
		s.done.Unlock()
		if offset == committed {
			return nil
		}
		committed = offset
		return commit(ctx, offset, stamp)
	}
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-stop:
			return now()
		case <-s.done.changed:
		}
		if err := now(); err != nil {
			return err
		}
		pause.Reset(interval)
		select {
		case <-stop:
			return now()
		case <-pause.C:
		}
	}
}

// note is what travels with a commit: who committed, and the last stamp it gave out, so that the next owner's
// stamps are larger.
func note(epoch, stamp int64) string {
	return "epoch=" + strconv.FormatInt(epoch, 10) + " stamp=" + strconv.FormatInt(stamp, 10)
}

// readNote is note's inverse; what it cannot read is zero.
func readNote(text string) (epoch, stamp int64) {
	for field := range strings.FieldsSeq(text) {
		name, digits, _ := strings.Cut(field, "=")
		n, err := strconv.ParseInt(digits, 10, 64)
		switch {
		case err != nil:
		case name == "epoch":
			epoch = n
		case name == "stamp":
			stamp = n
		}
	}
	return epoch, stamp
}
