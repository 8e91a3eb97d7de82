package rule

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// Relation names the links a message takes out of a node. Links are compared without regard to case.
type Relation string

// Relations most nodes have. Every node has Failure.
const (
	Success Relation = "Success"
	Failure Relation = "Failure"
	Other   Relation = "Other"
	True    Relation = "True"
	False   Relation = "False"
)

// Node is one step of a chain. One Node serves all partitions: it is safe for concurrent use and
// keeps nothing of a message after Process, unless it says how that is bounded.
type Node interface {
	// Process handles one message; what comes of it goes to turn. in is shared: read only. An error sends
	// the message along Failure, unless it is the platform's (storage.ErrUnavailable, the bus's): then Process is called again, later.
	// A node whose Kind waits for Nothing must not wait.
	Process(ctx context.Context, in *Message, turn *Turn) error
}

// Source is a Node that makes messages by itself: it is called when its time has come, in the partition of its
// originator, and what it emits goes on from there.
type Source interface {
	Node
	// Originator is whose partition runs it.
	Originator() ident.EntityID
	// Tick makes what is due. state is what the Tick before returned, nil at the first and whenever another process took over
	// the partition. It returns after how long it is to be called again; 0 means never.
	Tick(ctx context.Context, state []byte, turn *Turn) (again time.Duration, next []byte, err error)
}

// Waiter is a Node that knows better than its Kind what it waits for, once it is configured.
type Waiter interface {
	Node
	// Waits does not change.
	Waits() Waits
}

// ErrNotStartable is wrapped by Kind.New's error when the configuration is sound but asks for what
// this platform does not have yet: the chain is taken, and messages that reach the node fail with the error's text.
var ErrNotStartable = errors.New("node cannot be started")

// Category is the group a node is shown in.
type Category string

// The categories, as the REST API names them.
const (
	Filter         Category = "FILTER"
	Enrichment     Category = "ENRICHMENT"
	Transformation Category = "TRANSFORMATION"
	Action         Category = "ACTION"
	External       Category = "EXTERNAL"
	Flow           Category = "FLOW"
)

// Waits is what a node may wait for while it handles a message. Nodes that wait run beside the partition's loop, in a
// bounded number for each of these, and hold up their originator alone.
type Waits uint8

// What nodes wait for.
const (
	ForNothing Waits = iota
	ForStore         // entities and values; what earlier messages saved is durable when the node is called
	ForScripts       // script executors
	ForOutside       // anything outside of the platform
)

// Kind describes a class of nodes.
type Kind struct {
	Class     string // as exported chains name it
	Name      string
	Category  Category
	Doc       string
	Relations []Relation // besides Failure
	// CustomRelations: people name further ones.
	CustomRelations bool
	Version         int // of the configuration
	Default         json.RawMessage
	Schema          json.RawMessage // JSON schema of the configuration
	Waits           Waits
	// Pure nodes do nothing but emit along relations, and what they emit depends on the message alone. They may run before
	// earlier messages of the originator are done with.
	Pure bool
	// HasQueue: the node has a queue of its own, NodeEntry.Queue.
	HasQueue bool
	// Upgrade changes an older configuration in place, and n's queue where it was kept in the configuration; nil when
	// there is nothing to change.
	Upgrade func(from int, config map[string]any, n *NodeEntry)
	// New returns a node. Its errors name the field of the configuration that is wrong.
	New func(config json.RawMessage, s Services) (Node, error)
}

// Turn collects what one node makes of one message. What is emitted goes on after everything
// saved in the same turn is durable; if the store refuses a save, the message goes along Failure instead.
type Turn struct {
	emissions []Emission
	saves     []telemetry.Save
	final     bool
	tenure    ident.ID
	deleted   []telemetry.Deletion
}

// way is how an emission leaves its node.
type way uint8

const (
	along   way = iota // a relation
	enter              // into Chain
	back               // to the chain that entered this one, along the node's name
	requeue            // to Queue, to go on there along Relation
	later              // at At, along Relation
	raise              // to the start of the originator's chain
	ask                // along Success or Failure, when its originator has answered
	tell               // along Success, when the bus has what a session is told
)

// Emission is one message on its way out of a node.
type Emission struct {
	Relation Relation
	Message  *Message
	Err      error // why, on Failure

	way     way
	chain   ident.ID
	queue   string
	at      time.Time
	place   ident.ID
	yields  bool
	request *Request
	answer  *Answer
}

// Emit sends m along relation. If m has another originator than what the node was given, it goes on in the partition of
// that originator.
func (t *Turn) Emit(relation Relation, m *Message) {
	t.emissions = append(t.emissions, Emission{Relation: relation, Message: m})
}

// Fail sends m, which may be another message than the node was given, along Failure.
func (t *Turn) Fail(m *Message, err error) {
	t.emissions = append(t.emissions, Emission{Relation: Failure, Message: m, Err: err})
}

// Enter sends m into another chain of the tenant. What that chain gives back goes on along the relation it names.
func (t *Turn) Enter(chain ident.ID, m *Message) {
	t.emissions = append(t.emissions, Emission{way: enter, chain: chain, Message: m})
}

// Return sends m back to the node that entered this chain, to go on there along the relation that is this node's name. In
// a chain that nobody entered m is done with.
func (t *Turn) Return(m *Message) {
	t.emissions = append(t.emissions, Emission{way: back, Message: m})
}

// Requeue puts m on a queue; it goes on along Success when it is its turn there. "" is the main queue.
func (t *Turn) Requeue(queue string, m *Message) {
	t.emissions = append(t.emissions, Emission{way: requeue, queue: queue, Relation: Success, Message: m})
}

// Later keeps m, durably, and sends it along Success at a time.
func (t *Turn) Later(at time.Time, m *Message) {
	t.emissions = append(t.emissions, Emission{way: later, at: at, Relation: Success, Message: m})
}

// LaterInstead is Later, and what is kept in the same place, if that has yet to go on, gives way to m. It goes on at the earlier
// of both times.
func (t *Turn) LaterInstead(place ident.ID, at time.Time, m *Message) {
	t.emissions = append(t.emissions, Emission{way: later, at: at, place: place, Relation: Success, Message: m})
}

// LaterUnless is Later, unless something is kept in the same place that has yet to go on, and no later: then m is done with. Who has only
// remembered that it sent something there does not know whether it was kept: the message may have failed since, or been given back.
func (t *Turn) LaterUnless(place ident.ID, at time.Time, m *Message) {
	t.emissions = append(t.emissions, Emission{way: later, at: at, place: place, yields: true, Relation: Success, Message: m})
}

// Again keeps m, durably, and gives it to this node at a time; as with LaterUnless, what is kept in the same place stays unless it is
// later. What is in a place outlives the process, so a node has one such message per place, and gets it once more over a kill.
func (t *Turn) Again(place ident.ID, at time.Time, m *Message) {
	t.emissions = append(t.emissions, Emission{way: later, at: at, place: place, yields: true, Message: m})
}

// Raise sends m, a message of its own, to the start of its originator's chain. The node's message is done
// with only when the bus has m.
func (t *Turn) Raise(m *Message) {
	t.emissions = append(t.emissions, Emission{way: raise, Message: m})
}

// Ask sends a request to m's originator, a device. What it answers goes on along Success in m's place, or why it did not, an object with
// "error", along Failure. Until then m is kept, durably, if it leads anywhere.
func (t *Turn) Ask(r Request, m *Message) {
	t.emissions = append(t.emissions, Emission{way: ask, request: &r, Message: m})
}

// Answer tells a session of m's originator, a device, what its own request is answered with; m goes on along Success once the bus has that.
func (t *Turn) Answer(a Answer, m *Message) {
	t.emissions = append(t.emissions, Emission{way: tell, answer: &a, Relation: Success, Message: m})
}

// Save has the partition's writer store save. Its values are kept until then. The entity must be the originator of the node's message,
// or of the partition's other entities: to others telemetry.Remote writes.
func (t *Turn) Save(save telemetry.Save) { t.saves = append(t.saves, save) }

// Deleted has those told who watch attributes that the node has deleted (Services.Eraser), and with Notify the device.
func (t *Turn) Deleted(d telemetry.Deletion) { t.deleted = append(t.deleted, d) }

// Deletions is what Deleted was called with, in order. It is the turn's own.
func (t *Turn) Deletions() []telemetry.Deletion { return t.deleted }

// Final makes later failures of the message final: it is not tried again.
func (t *Turn) Final() { t.final = true }

// Tenure names the time for which the message's partition is this process's. What a node remembers of an originator from another
// one is out of date: others may have handled messages of it since. Zero outside of an engine.
func (t *Turn) Tenure() ident.ID { return t.tenure }

// Emissions is what was emitted so far, in order. It is the turn's own.
func (t *Turn) Emissions() []Emission { return t.emissions }

// Entered is the chain of an emission made by Enter.
func (e Emission) Entered() (chain ident.ID, ok bool) { return e.chain, e.way == enter }

// Requeued is the queue of an emission made by Requeue.
func (e Emission) Requeued() (queue string, ok bool) { return e.queue, e.way == requeue }

// Place is where LaterInstead, LaterUnless or Again keeps an emission; zero for every other. yields: it is not LaterInstead.
func (e Emission) Place() (place ident.ID, yields bool) { return e.place, e.yields }

// Due is the time of an emission that is kept for later.
func (e Emission) Due() (at time.Time, ok bool) { return e.at, e.way == later }

// again reports whether the emission was made by Again.
func (e Emission) again() bool { return e.way == later && e.Relation == "" }

// Asked is the request of an emission made by Ask.
func (e Emission) Asked() (r Request, ok bool) {
	if e.way != ask {
		return r, false
	}
	return *e.request, true
}

// Answered is the answer of an emission made by Answer.
func (e Emission) Answered() (a Answer, ok bool) {
	if e.way != tell {
		return a, false
	}
	return *e.answer, true
}

// Raised reports whether the emission was made by Raise.
func (e Emission) Raised() bool { return e.way == raise }

// Returned reports whether the emission was made by Return.
func (e Emission) Returned() bool { return e.way == back }

// Saves is what is to be stored, in order. It is the turn's own.
func (t *Turn) Saves() []telemetry.Save { return t.saves }

// IsFinal reports whether Final was called.
func (t *Turn) IsFinal() bool { return t.final }

func (t *Turn) reset() {
	clear(t.emissions)
	clear(t.saves)
	t.deleted = nil
	t.emissions, t.saves, t.final = t.emissions[:0], t.saves[:0], false
}
