package rule

import (
	"fmt"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
)

// Flight is one message on its way through a chain, with every copy its nodes make. It ends
// once, when all of them have.
type Flight struct {
	Message Message
	Chain   *Chain
	// Position is where the message goes on, if it has been under way before; nil: at Chain's first node.
	Position *Position
	// Executions is how many nodes led to the message before.
	Executions int
	// Tick: the flight is no message, but the time of the Source at Position.
	Tick *Tick
	// Attempts counts the starts.
	Attempts int
	// Owner is whatever the one who started the flight wants to find again.
	Owner any

	inLine     bool     // of its originator's lane
	held       []branch // until it is the first there
	path       []Hop
	began      time.Time
	work       workTime
	generation int32 // counts starts and cancellations; branches of an earlier one are dropped
	branches   int32
	executions int32
	handed     int32 // copies that went on elsewhere
	final      bool
	err        error
	where      string
}

// Position is a place in a chain where a message goes on.
type Position struct {
	Chain, Node ident.ID
	// Relation the message takes out of Node; "": Node handles it.
	Relation Relation
	// Stack is the nodes that entered the chains it is in, the outermost first.
	Stack []Place
}

// Place is a node of a chain.
type Place struct{ Chain, Node ident.ID }

// Onward is a message handed on: what becomes of it from then on is not the flight's that made it.
type Onward struct {
	Message *Message
	// Position is where it goes on; nil: at the start of its originator's chain.
	Position *Position
	// Executions is how many nodes led to it: messages that make one another without end are stopped by their number.
	Executions int
	Queue      string
	At         time.Time // not before; zero: at once
	// Place: of two in the same one the first gives way to the second, or the second Yields to it unless its At is earlier; zero: there is none.
	Place  ident.ID
	Yields bool
	// Answer: a session of Message's originator is told this, and nothing else happens.
	Answer *Answer
}

// Hop is one node a flight ran through.
type Hop struct {
	Chain    *Chain
	Relation Relation // the first one it left by; "" if none
	After    time.Duration
	at       int32
	saved    int32
	err      error
}

// Node is the name of the node.
func (h Hop) Node() string { return h.Chain.steps[h.at].name }

// NodeID is the id of the node.
func (h Hop) NodeID() ident.ID { return h.Chain.steps[h.at].id }

// Saved is how many writes the node made.
func (h Hop) Saved() int { return int(h.saved) }

// Err is the node's error.
func (h Hop) Err() error { return h.err }

// hopsKept bounds what is remembered of a flight's path.
const hopsKept = 64

// Err is the first error that no Failure link took, nil if there was none.
func (f *Flight) Err() error { return f.err }

// Where names the chain and node at which Err came up.
func (f *Flight) Where() string { return f.where }

// Final reports whether the flight must not be started again.
func (f *Flight) Final() bool { return f.final }

// Path is the nodes the last start ran through, in the order they were entered, at most 64. It is the flight's own.
func (f *Flight) Path() []Hop { return f.path }

// Began is when the last start was.
func (f *Flight) Began() time.Time { return f.began }

// Reset makes f a flight of nothing. room is for its path, unless it has more already.
func (f *Flight) Reset(room []Hop) {
	if cap(f.path) > cap(room) {
		clear(f.path)
		room = f.path[:0]
	}
	*f = Flight{path: room, generation: f.generation}
}

// named gives every copy of the flight's message that goes on elsewhere a name of its own, the same at every start: each has its own
// fate from then on. The first keeps the message's.
func (f *Flight) named(m *Message, at *Position) *Message {
	n := f.handed
	f.handed++
	if n == 0 {
		return m
	}
	other := *m
	other.ID = values.MessageID(ident.Derive(ident.ID(m.ID), fmt.Sprintf("%v %d %d", at.Node, m.Index, n)))
	return &other
}

// Fail ends a flight that could not even start.
func (f *Flight) Fail(where string, err error) { f.err, f.where = err, where }

func (f *Flight) failAt(b branch, err error) {
	if f.err != nil {
		return
	}
	f.err = err
	f.where = fmt.Sprintf("rule chain %q node %q", b.chain.Name, b.step().name)
}

// branch is one copy of a flight's message about to enter a step, or in it.
type branch struct {
	flight     *Flight
	generation int32
	executions int32 // of this copy
	at         int32
	hop        int32 // of the flight's path; none when it is not kept
	chain      *Chain
	message    *Message
	onward     *Onward // being handed on
	stack      *frame
}

func (b *branch) step() *step { return &b.chain.steps[b.at] }

// over reports whether b's flight has been ended without it.
func (b *branch) over() bool { return b.generation != b.flight.generation }

// position is where b is, to go on along relation.
func (b *branch) position(relation Relation) *Position {
	p := &Position{Chain: b.chain.ID, Node: b.step().id, Relation: relation}
	for f := b.stack; f != nil; f = f.up {
		p.Stack = append([]Place{{f.chain.ID, f.chain.steps[f.at].id}}, p.Stack...)
	}
	return p
}

// frame is a node that entered another chain, and waits for what comes back.
type frame struct {
	chain *Chain
	at    int32
	up    *frame
}

// holds reports whether the node is on the stack already.
func (f *frame) holds(chain ident.ID, at int32) bool {
	for ; f != nil; f = f.up {
		if f.chain.ID == chain && f.at == at {
			return true
		}
	}
	return false
}
