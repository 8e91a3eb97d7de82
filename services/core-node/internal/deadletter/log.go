package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
)

// Log reads and settles dead letters. Nothing is kept in memory between calls: the topic says it all.
type Log struct {
	Bus  bus.Bus
	Most int // letters and markers looked through by one call, the oldest first
	Now  func() time.Time
}

// quiet is how long a partition has nothing more to give before it is taken to be at its end.
const quiet = 300 * time.Millisecond

// Entry is one letter as it stands.
type Entry struct {
	Letter *sluicepb.DeadLetter
	State  sluicepb.Marker
}

// ID is the letter's name.
func (e Entry) ID() ident.ID {
	id, _ := ident.FromBytes(e.Letter.GetId()) // an id that is none is the zero ID, which nobody asks for
	return id
}

// List returns the letters nobody has settled, the newest first, without what they carry.
func (l *Log) List(ctx context.Context) ([]Entry, error) {
	entries, err := l.fold(ctx, ident.ID{})
	if err != nil {
		return nil, err
	}
	open := slices.DeleteFunc(entries, func(e Entry) bool { return e.State != sluicepb.Marker_NONE })
	slices.SortStableFunc(open, func(a, b Entry) int {
		return int(b.Letter.GetFailedAtMs() - a.Letter.GetFailedAtMs())
	})
	return open, nil
}

// Show returns one letter with all it carries. fault.NotFound when there is none.
func (l *Log) Show(ctx context.Context, id ident.ID) (Entry, error) {
	entries, err := l.fold(ctx, id)
	if err != nil {
		return Entry{}, err
	}
	for _, e := range entries {
		if e.ID() == id {
			return e, nil
		}
	}
	return Entry{}, fault.New(fault.NotFound, "there is no dead letter "+id.String())
}

// Replay puts the letter's message on its topic again, with its id and time, and marks the letter. When marking fails the
// message is handled again nevertheless, which is harmless.
func (l *Log) Replay(ctx context.Context, id ident.ID) error {
	e, err := l.unsettled(ctx, id)
	if err != nil {
		return err
	}
	m := bus.Message{Topic: e.Letter.GetTopic(), Key: e.Letter.GetKey(), Value: e.Letter.GetValue()}
	if kind := e.Letter.GetKind(); kind != "" {
		m.Headers = append(m.Headers, bus.Header{Key: topics.KindHeader, Value: []byte(kind)})
	}
	if index := e.Letter.GetRecordIndex(); index >= 0 {
		m.Headers = append(m.Headers, bus.Header{Key: topics.RecordIndexHeader, Value: fmt.Append(nil, index)})
	}
	answered := make(chan error, 1)
	if err := l.writer().publish(ctx, m, func(err error) { answered <- err }); err != nil {
		return fault.Wrap(fault.Unavailable, "replay a dead letter", err)
	}
	select {
	case err = <-answered:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return fault.Wrap(fault.Unavailable, "replay a dead letter", err)
	}
	return l.mark(ctx, e, sluicepb.Marker_REPLAYED)
}

// Discard marks the letter as of no use.
func (l *Log) Discard(ctx context.Context, id ident.ID) error {
	e, err := l.unsettled(ctx, id)
	if err != nil {
		return err
	}
	return l.mark(ctx, e, sluicepb.Marker_DISCARDED)
}

func (l *Log) writer() Writer { return Writer{l.Bus} }

func (l *Log) unsettled(ctx context.Context, id ident.ID) (Entry, error) {
	e, err := l.Show(ctx, id)
	if err == nil && e.State != sluicepb.Marker_NONE {
		err = fault.New(fault.Conflict, "the dead letter was "+stateName(e.State)+" already")
	}
	return e, err
}

// mark puts a marker behind the letter, in its partition.
func (l *Log) mark(ctx context.Context, e Entry, m sluicepb.Marker) error {
	marker := &sluicepb.DeadLetter{
		Id: e.Letter.GetId(), Marker: m, Originator: e.Letter.GetOriginator(), Key: e.Letter.GetKey(),
		FailedAtMs: l.Now().UnixMilli(),
	}
	if err := l.writer().Write(ctx, marker); err != nil {
		return fault.Wrap(fault.Unavailable, "mark a dead letter", err)
	}
	return nil
}

// fold reads the topic into letters and what became of each. Only the letter named whole keeps what it carries.
func (l *Log) fold(ctx context.Context, whole ident.ID) ([]Entry, error) {
	partitions, err := l.Bus.Partitions(ctx, topics.DeadLetters)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "read dead letters", err)
	}
	f := folded{place: map[ident.ID]int{}, whole: whole, left: l.Most}
	for partition := range partitions {
		if err := l.scan(ctx, partition, &f); err != nil {
			return nil, fault.Wrap(fault.Unavailable, "read dead letters", err)
		}
	}
	return f.entries, nil
}

func (l *Log) scan(ctx context.Context, partition int, f *folded) (err error) {
	reader, err := l.Bus.OpenReader(ctx, topics.DeadLetters, partition)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	for f.left > 0 {
		records, err := l.more(ctx, reader, f.left)
		if err != nil || len(records) == 0 {
			return err
		}
		f.left -= len(records)
		for i := range records {
			f.add(records[i].Value)
		}
	}
	return nil
}

// more reads on; nothing means that the end was reached.
func (l *Log) more(ctx context.Context, reader bus.Reader, most int) ([]bus.Record, error) {
	limited, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	records, err := reader.Read(limited, most)
	if err != nil && limited.Err() != nil {
		return nil, ctx.Err()
	}
	return records, err
}

type folded struct {
	entries []Entry
	place   map[ident.ID]int
	whole   ident.ID
	left    int
}

// add takes one record of the topic in. One that cannot be read is not a letter of ours.
func (f *folded) add(value []byte) {
	letter := &sluicepb.DeadLetter{}
	if err := proto.Unmarshal(value, letter); err != nil {
		return
	}
	id, err := ident.FromBytes(letter.GetId())
	if err != nil {
		return
	}
	at, known := f.place[id]
	switch {
	case letter.GetMarker() != sluicepb.Marker_NONE:
		if known {
			f.entries[at].State = letter.GetMarker()
		}
		return
	case id != f.whole:
		letter.Value, letter.Key = nil, nil
	}
	if known { // it failed again
		f.entries[at] = Entry{Letter: letter}
		return
	}
	f.place[id] = len(f.entries)
	f.entries = append(f.entries, Entry{Letter: letter})
}

func stateName(m sluicepb.Marker) string {
	switch m {
	case sluicepb.Marker_REPLAYED:
		return "replayed"
	case sluicepb.Marker_DISCARDED:
		return "discarded"
	}
	return "waiting"
}
