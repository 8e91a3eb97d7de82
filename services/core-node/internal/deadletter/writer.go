// Package deadletter keeps messages that could not be handled through their own fault: on a topic of
// the bus, with their error, until an operator replays or discards them.
package deadletter

import (
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
)

// NewID names the letter of one record of the bus (and of the index within it). A record that fails
// again after a redelivery gets the same name, so that it is one letter.
func NewID(r bus.Record, index int) ident.ID {
	place := binary.BigEndian.AppendUint64([]byte(r.Topic+"\x00"), uint64(r.Partition))
	place = binary.BigEndian.AppendUint64(place, uint64(r.Offset))
	place = binary.BigEndian.AppendUint64(place, uint64(index))
	place = append(place, r.Value...)
	sum := sha1.Sum(place) //nolint:gosec // a name, as in UUID version 5; no secret
	id := ident.ID(sum[:16])
	id[6] = id[6]&0x0f | 0x50
	id[8] = id[8]&0x3f | 0x80
	return id
}

// Writer puts letters on the bus.
type Writer struct{ Bus bus.Publisher }

// Write returns nil once the bus has every letter. After an error some may be there; writing them
// again is harmless.
func (w Writer) Write(ctx context.Context, letters ...*sluicepb.DeadLetter) error {
	var waiting sync.WaitGroup
	errs := make([]error, len(letters))
	for i, letter := range letters {
		m, err := message(letter)
		if err != nil {
			return fmt.Errorf("encode a dead letter: %w", err)
		}
		waiting.Add(1)
		err = w.publish(ctx, m, func(err error) {
			errs[i] = err
			waiting.Done()
		})
		if err != nil {
			waiting.Done()
			errs[i] = err
			break
		}
	}
	waiting.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("publish dead letters: %w", err)
	}
	return nil
}

func message(letter *sluicepb.DeadLetter) (bus.Message, error) {
	value, err := proto.Marshal(letter)
	key := letter.GetKey()
	if id := letter.GetOriginator().GetId(); len(id) > 0 {
		key = id
	}
	return bus.Message{Topic: topics.DeadLetters, Key: key, Value: value}, err
}

// publish waits for room.
func (w Writer) publish(ctx context.Context, m bus.Message, done func(error)) error {
	for {
		room := w.Bus.Room(m.Topic, m.Key)
		err := w.Bus.Publish(m, done)
		if !errors.Is(err, bus.ErrFull) {
			return err
		}
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
