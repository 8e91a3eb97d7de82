// Package rulenodetest is the door through which rule nodes are tested: it builds a node of a Kind
// and a configuration, hands it messages, and says what came of them in plain values.
package rulenodetest

import (
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// NowMillis is the time on the bench's clock, in ms since the epoch. It stands still until Advance is called.
const NowMillis = 1_800_000_000_000

// Bench is what nodes under test are built with. It belongs to one test.
type Bench struct {
	// Services is what nodes get: no log, the bench's clock, the bench's scripts, and ids of the bench's own. Change
	// it before Node.
	Services rule.Services
	// Scripts answers for all scripts of the nodes.
	Scripts *Scripts
	// Store is where Services.Values and Services.Entities read; nil before Platform.
	Store storage.Store
	// Device originates the messages of Message.
	Device ident.DeviceID

	t   testing.TB
	now time.Time
}

// New returns a bench without a store.
func New(t testing.TB) *Bench {
	b := &Bench{t: t, Scripts: &Scripts{}, Device: ident.DeviceID{ID: id("device")}, now: time.UnixMilli(NowMillis)}
	b.Services = rule.Services{
		Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return b.now },
		Tenant: ident.TenantID{ID: id("tenant")}, Chain: id("chain"), Node: id("node"), Name: "Node",
		Scripts: b.Scripts,
	}
	return b
}

func id(name string) ident.ID { return ident.Derive(ident.ID{1}, name) }

// Advance moves the clock on.
func (b *Bench) Advance(d time.Duration) { b.now = b.now.Add(d) }

// Node returns a node of kind that is configured by JSON text; "" is the default configuration.
func (b *Bench) Node(kind rule.Kind, config string) rule.Node {
	b.t.Helper()
	node, err := b.New(kind, config)
	if err != nil {
		b.t.Fatalf("%s does not start with %s: %v", kind.Name, config, err)
	}
	return node
}

// New is Node for configurations that may be refused.
func (b *Bench) New(kind rule.Kind, config string) (rule.Node, error) {
	if config == "" {
		config = string(kind.Default)
	}
	return kind.New(json.RawMessage(config), b.Services)
}

// Message returns a message of the bench's device and the clock's time.
func (b *Bench) Message(messageType, data string, metadata map[string]string) *rule.Message {
	return &rule.Message{
		ID: [16]byte{7}, Tenant: b.Services.Tenant, Originator: b.Device.Entity(), Type: messageType, Time: b.now.UnixMilli(),
		Body: rule.TextBody(data), Metadata: rule.Metadata{}.WithAll(metadata),
	}
}

// Upgrade brings a configuration of version from to kind's, and returns it as JSON text, its names in order, with the
// queue the node has got.
func Upgrade(t testing.TB, kind rule.Kind, from int, config string) (upgraded, queue string) {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(config), &fields); err != nil {
		t.Fatal(err)
	}
	var entry rule.NodeEntry
	if kind.Upgrade != nil {
		kind.Upgrade(from, fields, &entry)
	}
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), entry.Queue
}
