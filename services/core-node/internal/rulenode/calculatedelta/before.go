package calculatedelta

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/history"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// reading is a value at a time in ms.
type reading struct {
	at    int64
	value float64
}

// memory is the last reading of an originator, and what was before those of the message that brought it: a message that
// is handled again has to find the same again.
type memory struct {
	tenure  ident.ID
	last    reading
	message values.MessageID
	index   int
	steps   []step
}

// step is a reading and the one before it; known is false if there was none.
type step struct {
	now, before reading
	known       bool
}

// mostSteps bounds the readings of one message that are remembered.
const mostSteps = 64

// before returns the reading before now: the last of the node's, if it has seen all of the originator's, else the store's.
func (n *node) before(ctx context.Context, in *rule.Message, tenure ident.ID, now reading) (before reading, known bool, err error) {
	if !n.UseCache {
		return n.stored(ctx, in.Originator, now)
	}
	m, remembered := n.last.Get(in.Originator)
	remembered = remembered && m.tenure == tenure
	same := remembered && m.message == in.ID && m.index == in.Index
	if same {
		for _, s := range m.steps {
			if s.now == now {
				return s.before, s.known, nil
			}
		}
	}
	if remembered && m.last.at <= now.at {
		before, known = m.last, true
	} else if before, known, err = n.stored(ctx, in.Originator, now); err != nil {
		return before, known, err
	}
	next := memory{tenure: tenure, last: now, message: in.ID, index: in.Index}
	if same && len(m.steps) < mostSteps {
		next.steps = m.steps
	}
	next.steps = append(next.steps[:len(next.steps):len(next.steps)], step{now, before, known})
	if remembered && m.last.at > now.at {
		next.last = m.last // what comes late is not the last
	}
	n.last.Put(in.Originator, next)
	return before, known, nil
}

// stored returns the newest stored reading older than now: the message may have been stored before, by the chain or by another attempt.
func (n *node) stored(ctx context.Context, e ident.EntityID, now reading) (reading, bool, error) {
	for p, err := range n.values.Range(ctx, e, n.Input, storage.Span{Start: math.MinInt64 / 4, End: now.at}, true) {
		if err != nil {
			return reading{}, false, fmt.Errorf("read the reading before: %w", err)
		}
		value, err := number(p.Value)
		return reading{p.Time, value}, err == nil, err
	}
	latest, err := n.values.Latest(ctx, e, []string{n.Input})
	if err != nil {
		return reading{}, false, fmt.Errorf("read the reading before: %w", err)
	}
	if len(latest) == 0 || latest[0].Time >= now.at {
		return reading{}, false, nil
	}
	value, err := number(latest[0].Value)
	return reading{latest[0].Time, value}, err == nil, err
}

func number(v values.Value) (float64, error) {
	value, err := strconv.ParseFloat(history.Text(v), 64)
	if err != nil {
		return 0, fmt.Errorf("the reading before, %q, is no number", history.Text(v))
	}
	return value, nil
}
