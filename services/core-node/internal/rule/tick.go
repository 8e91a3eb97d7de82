package rule

import (
	"context"
	"fmt"
	"time"
)

// Tick is what a flight carries that is not a message but a Source's time.
type Tick struct {
	// State is what the Tick before left, and then what this one leaves.
	State []byte
	// Again is when the next one is due after this; 0 never.
	Again time.Duration
	// Ran: the Source was found and called.
	Ran bool
}

// work has b's node do what the branch came for. It keeps a node's panic to the message that caused it.
func work(ctx context.Context, b branch, turn *Turn) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("node panicked: %v", r)
		}
	}()
	node := b.step().node
	source, makes := node.(Source)
	if t := b.flight.Tick; t != nil && makes && b.message == &b.flight.Message {
		t.Ran = true
		t.Again, t.State, err = source.Tick(ctx, t.State, turn)
		return err
	}
	return node.Process(ctx, b.message, turn)
}
