package rule

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// Relation names the links a message takes out of a node. Links are compared without regard to case.
type Relation string

// Relations most nodes have. Every node has Failure.
const (
	Success Relation = "Success"
	Failure Relation = "Failure"
	Other   Relation = "Other"
)

// Node is one step of a chain. One Node serves all partitions: it is safe for concurrent use and
// keeps nothing of a message after Process.
type Node interface {
	// Process handles one message; what comes of it goes to turn. in is shared: read only. An error sends
	// the message along Failure, unless it is the platform's (storage.ErrUnavailable, the bus's): then Process is called again, later.
	// A node whose Kind is not Blocking must not wait for anything.
	Process(ctx context.Context, in *Message, turn *Turn) error
}

// ErrNotStartable is wrapped by Kind.New's error when the configuration is sound but asks for what
// this platform does not have yet: the chain is taken, and messages that reach the node fail with the error's text.
var ErrNotStartable = errors.New("node cannot be started")

// Kind describes a class of nodes.
type Kind struct {
	Class     string // as exported chains name it
	Name      string
	Doc       string
	Relations []Relation // besides Failure
	Version   int        // of the configuration
	Default   json.RawMessage
	Schema    json.RawMessage // JSON schema of the configuration
	// Blocking nodes may wait for the outside world: they run beside the partition's loop and hold up their originator alone.
	Blocking bool
	// Upgrade changes an older configuration in place; nil when there is nothing to change.
	Upgrade func(from int, config map[string]any)
	// New returns a node. Its errors name the field of the configuration that is wrong.
	New func(config json.RawMessage, s Services) (Node, error)
}

// Services is what nodes may use of the platform.
type Services struct {
	Log *slog.Logger
	Now func() time.Time
}

// Turn collects what one node makes of one message. What is emitted goes on after everything
// saved in the same turn is durable; if the store refuses a save, the message goes along Failure instead.
type Turn struct {
	emissions []Emission
	saves     []telemetry.Save
}

// Emission is one message on its way out of a node.
type Emission struct {
	Relation Relation
	Message  *Message
	Err      error // why, on Failure
}

// Emit sends m along relation.
func (t *Turn) Emit(relation Relation, m *Message) {
	t.emissions = append(t.emissions, Emission{Relation: relation, Message: m})
}

// Fail sends m, which may be another message than the node was given, along Failure.
func (t *Turn) Fail(m *Message, err error) {
	t.emissions = append(t.emissions, Emission{Failure, m, err})
}

// Save has the partition's writer store save. Its values are kept until then.
func (t *Turn) Save(save telemetry.Save) { t.saves = append(t.saves, save) }

// Emissions is what was emitted so far, in order. It is the turn's own.
func (t *Turn) Emissions() []Emission { return t.emissions }

// Saves is what is to be stored, in order. It is the turn's own.
func (t *Turn) Saves() []telemetry.Save { return t.saves }

func (t *Turn) reset() {
	clear(t.emissions)
	clear(t.saves)
	t.emissions, t.saves = t.emissions[:0], t.saves[:0]
}
