// Package tryout runs exported rule chains where nobody else is: with the engine and the nodes of a core node, on a store in
// memory, and without leaving the machine. It also says what is wrong with them.
package tryout

import (
	"context"
	"encoding/json"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/outside"
	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

// Platform is what chains are tried on. All fields are required.
type Platform struct {
	Kinds []rule.Kind
	// Scripts runs tenants' scripts. What it prepares may be a Compiled; then lint compiles scripts, too.
	Scripts     rule.Scripts
	Relations   relation.Settings
	Alarms      alarm.Settings
	Outside     outside.Settings
	NodeTimeout time.Duration
	Executions  int // most nodes of one message
	MaxChain    int // bytes of one chain
}

// Compiled is a script that can be compiled without being run.
type Compiled interface {
	// Compile returns what is wrong with it.
	Compile(ctx context.Context) error
}

// Options is one try.
type Options struct {
	// File is a single exported chain, or a bundle.
	File []byte
	// Start names the chain of a bundle that messages enter; "": the root chain, else the first.
	Start string
	// Now is the time of the first message; zero: the present.
	Now time.Time
	// Stopwatch measures nodes; nil: nothing is measured.
	Stopwatch func() time.Time
	Given     []Entity
	Relations []Relation
	// Outcomes says how external nodes, by their names, end. Others succeed.
	Outcomes map[string]Outcome
	Messages []Message
}

// Entity is one there is before the first message. Devices that messages name are made if they are not given.
type Entity struct {
	Type     string `json:"type"` // DEVICE (also ""), ASSET or CUSTOMER
	Name     string `json:"name"`
	Profile  string `json:"profile"` // of a device or asset; "": default
	Label    string `json:"label"`
	Customer string `json:"customer"` // whose it is
	// Attributes are objects of values by scope: CLIENT_SCOPE, SHARED_SCOPE, SERVER_SCOPE.
	Attributes map[string]json.RawMessage `json:"attributes"`
	// Telemetry is an object of values, or an array of {ts, values}.
	Telemetry json.RawMessage `json:"telemetry"`
}

// Relation is one there is before the first message. Its ends are names of entities.
type Relation struct {
	From string `json:"from"`
	To   string `json:"to"`
	Type string `json:"type"` // "": Contains
}

// Message enters the chain, or is the time of a generator.
type Message struct {
	Type     string            `json:"type"`     // "": POST_TELEMETRY_REQUEST
	Device   string            `json:"device"`   // whose it is; "": Device
	Asset    string            `json:"asset"`    // instead
	Customer string            `json:"customer"` // instead
	Metadata map[string]string `json:"metadata"` // beside what the platform puts in
	Body     json.RawMessage   `json:"body"`
	After    string            `json:"after"` // time since the message before it, such as 10s; "": 1s
	// Tick names a generator node, which makes a message instead.
	Tick string `json:"tick"`
}

// Outcome is how an external node is taken to end.
type Outcome struct {
	Relation string            `json:"relation"` // "": Success
	Body     json.RawMessage   `json:"body"`     // of the answer; none: the message's
	Metadata map[string]string `json:"metadata"` // of the answer
}

// Report is what came of a try.
type Report struct {
	Chain   string            `json:"chain"` // messages entered
	Flights []Flight          `json:"flights"`
	Sent    []Sent            `json:"sent"`
	Stored  map[string]Stored `json:"stored"` // by the names of entities
}

// Flight is one message on its way through the chain.
type Flight struct {
	// From is where it came from: given, generator, raised by a node, a queue, or a node that kept it back.
	From       string `json:"from"`
	Type       string `json:"type"`
	Originator string `json:"originator"`
	Steps      []Step `json:"steps"`
	// Error is of the first node whose Failure no link took, Where that node.
	Error string `json:"error,omitempty"`
	Where string `json:"where,omitempty"`
}

// Step is one way a message took out of a node.
type Step struct {
	Chain string `json:"chain"`
	Node  string `json:"node"`
	// Relation is what it left by; "" when it ended there, or went into or out of a chain, as Went says.
	Relation string            `json:"relation"`
	Went     string            `json:"went,omitempty"` // into, back, raised, ended
	Took     float64           `json:"tookMs"`
	Stored   int               `json:"stored"` // writes the node made
	Type     string            `json:"type"`
	Metadata map[string]string `json:"metadata"`
	Body     json.RawMessage   `json:"body"` // a text that is no JSON is a string
	Error    string            `json:"error,omitempty"`
}

// Sent is what an external node would have sent.
type Sent struct {
	Node string          `json:"node"`
	To   string          `json:"to"`
	Body json.RawMessage `json:"body"`
}

// Stored is what there is of an entity at the end.
type Stored struct {
	Type       string                    `json:"type"`
	Telemetry  map[string]any            `json:"telemetry,omitempty"` // latest values
	Attributes map[string]map[string]any `json:"attributes,omitempty"`
	Alarms     []Alarm                   `json:"alarms,omitempty"`
}

// Alarm is one alarm of an entity.
type Alarm struct {
	Type     string          `json:"type"`
	Severity string          `json:"severity"`
	Status   string          `json:"status"`
	Details  json.RawMessage `json:"details"`
}
