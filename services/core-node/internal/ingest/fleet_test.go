package ingest

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/bustest"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/deadletter"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/queue"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// fleet is several core nodes on one broker and one store. The test moves partitions between them.
type fleet struct {
	*world
	addr string
}

func newFleet(t *testing.T) *fleet {
	return &fleet{newWorld(t), bustest.Broker(t)}
}

// member is one node of a fleet.
type member struct {
	f       *fleet
	name    string
	metrics *prometheus.Registry
	bus     *bus.Client
	ingest  *Ingest
	watches *live.Watches
	owned   map[int]func(crash bool)
	leases  map[int]*term
	owners  atomic.Int64 // announcements of owners heard
}

// term is the right to a partition until the test ends it.
type term struct {
	partition int
	epoch     int64
	mu        sync.Mutex
	over      bool
}

func (l *term) Partition() int { return l.partition }
func (l *term) Epoch() int64   { return l.epoch }
func (l *term) Valid() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.over
}

func (l *term) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
}

// join adds a node that owns nothing.
func (f *fleet) join(name string) *member {
	f.t.Helper()
	m := &member{f: f, name: name, owned: map[int]func(bool){}, leases: map[int]*term{}}
	m.bus = bustest.Dial(f.t, f.addr, bus.Options{Node: name, ReplyPrefix: topics.CoreResponses})
	registry, quiet := prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	m.metrics = registry
	hub := live.NewHub()
	compiler := rule.NewCompiler(f.kinds, rule.Services{Log: quiet, Now: time.Now})
	m.ingest = New(f.config, Deps{
		Bus: m.bus, Store: f.store, Rows: f.world.rows, Devices: f.world.devices, Assets: noAssets{}, Chains: rule.NewChains(f, f.world.devices, compiler), Hub: hub,
		Letters: deadletter.Writer{Bus: m.bus}, Metrics: NewMetrics(registry), Log: quiet, Now: time.Now,
		Queues: queue.Standard(0, time.Millisecond), Debug: func(rule.Debugged) {},
	})
	m.watches = live.NewWatches(live.Options{
		Hub: hub, Bus: m.bus, Values: f.store, Partitions: bustest.Partitions, Here: m.ingest.Owns, Budget: time.Second,
		Metrics: live.NewMetrics(registry), Log: quiet,
	})
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	ready := make(chan struct{})
	running.Go(func() {
		_ = m.bus.Tail(ctx, topics.Events, ready, func(r bus.Record) {
			var event sluicepb.EntityEvent
			if proto.Unmarshal(r.Value, &event) == nil && event.GetOwner() != nil {
				m.watches.Owner(event.GetOwner())
				m.owners.Add(1)
			}
		})
	})
	running.Go(func() { _ = m.watches.Run(ctx) })
	<-ready
	f.t.Cleanup(func() {
		for n := range m.owned {
			m.lose(n)
		}
		stop()
		running.Wait()
	})
	return m
}

// own gives m a partition.
func (m *member) own(partition int, epoch int64) {
	lease, ended := &term{partition: partition, epoch: epoch}, make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	go func() { ended <- m.ingest.Own(ctx, lease) }()
	m.leases[partition] = lease
	m.owned[partition] = func(crash bool) {
		if crash {
			lease.end() // nothing more is stored or committed
		}
		stop()
		if err := <-ended; err != nil {
			m.f.t.Errorf("%s: partition %d: %v", m.name, partition, err)
		}
		lease.end()
	}
}

// expire ends a lease; m finds out when it next has something to do.
func (m *member) expire(partition int) { m.leases[partition].end() }

// lose hands a partition over in order.
func (m *member) lose(partition int) { m.end(partition, false) }

// crash takes a partition from m, which can no longer commit.
func (m *member) crash(partition int) { m.end(partition, true) }

func (m *member) end(partition int, crash bool) {
	m.owned[partition](crash)
	delete(m.owned, partition)
}

// count returns one of the node's counters or gauges.
func (m *member) count(name string) float64 {
	w := *m.f.world
	w.metrics = m.metrics
	return w.counted(name, "")
}

// watched is how many watches of other nodes m keeps.
func (m *member) watched() float64 { return m.count("core_node_live_watches") }

// send puts a message on the bus as a transport does.
func (m *member) send(key []byte, topic string, value []byte) {
	m.f.t.Helper()
	done := make(chan error, 1)
	if err := m.bus.Publish(bus.Message{Topic: topic, Key: key, Value: value}, func(err error) { done <- err }); err != nil {
		m.f.t.Fatal(err)
	}
	if err := <-done; err != nil {
		m.f.t.Fatal(err)
	}
}

func (m *member) reading(d entity.Device, at int64) {
	m.f.t.Helper()
	u := m.f.uplink(d, reading(at, "n", telemetry.OfLong(at)))
	m.send(d.ID.ID[:], topics.RuleEngine, telemetry.AppendUplink(nil, u))
}

// in returns a device of a partition.
func (f *fleet) in(partition int) entity.Device {
	for {
		if d := f.device("device"); bus.Partition(d.ID.ID[:], bustest.Partitions) == partition {
			return d
		}
	}
}

// audience is what one subscription heard of the series n.
type audience struct {
	mu    sync.Mutex
	heard []int64
}

func (a *audience) deliver(u live.Update) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, kv := range u.Values {
		if u.Scope == storage.Timeseries && kv.Key == "n" {
			a.heard = append(a.heard, kv.Long())
		}
	}
}

func (a *audience) has(n int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.heard, n)
}

// follow subscribes as a session does.
func (m *member) follow(d entity.Device) (*audience, func()) {
	m.f.t.Helper()
	a := &audience{}
	stop := m.watches.Watch(d.ID.Entity(), a.deliver)
	if err := m.watches.Settle(m.f.t.Context(), d.ID.Entity()); err != nil {
		m.f.t.Fatal(err)
	}
	return a, stop
}

func (f *fleet) hears(a *audience, n int64) {
	f.t.Helper()
	f.eventually("reading "+strconv.FormatInt(n, 10)+" to be delivered", func() bool { return a.has(n) })
}

// TestWatchingAnotherNodesDevice: who watches at one node hears of what the other stores, until they stop.
func TestWatchingAnotherNodesDevice(t *testing.T) {
	f := newFleet(t)
	a, b := f.join("a"), f.join("b")
	b.own(0, 1)
	b.own(1, 1)
	d := f.in(0)
	first, stopFirst := a.follow(d)
	second, stopSecond := a.follow(d)
	f.eventually("the owner to be heard of", func() bool { return a.owners.Load() == 2 })
	own, _ := b.follow(d)
	a.reading(d, 1)
	for _, one := range []*audience{first, second, own} {
		f.hears(one, 1)
	}
	stopFirst()
	a.reading(d, 2)
	f.hears(second, 2)
	stopSecond()
	f.eventually("the owner to forget", func() bool { return b.watched() == 0 })
	a.reading(d, 3)
	f.hears(own, 3)
	if first.has(2) || second.has(3) {
		t.Errorf("heard %v and %v after the end", first.heard, second.heard)
	}
	if len(own.heard) != 3 {
		t.Errorf("the owner's own heard %v", own.heard)
	}
}

// TestAHandOverLosesNothing: readings come all the time while the partition goes from node to node, by a hand-over and
// by a crash. Of what was read while nobody told, all is delivered, late.
func TestAHandOverLosesNothing(t *testing.T) {
	f := newFleet(t)
	a, b, c := f.join("a"), f.join("b"), f.join("c")
	d := f.in(0)
	b.own(0, 1)
	heard, _ := a.follow(d)
	n := int64(0)
	send := func(count int) {
		for range count {
			n++
			a.reading(d, n)
		}
	}
	send(20)
	for i, move := range []struct{ from, to *member }{{b, c}, {c, a}, {a, b}, {b, c}} {
		f.hears(heard, n)
		send(5)
		move.from.end(0, i%2 == 1)
		send(5)
		move.to.own(0, int64(i)+2)
		took := time.Now()
		send(5)
		for each := int64(1); each <= n; each++ { // a new owner may tell of the last before what came between is read
			f.hears(heard, each)
		}
		if late := time.Since(took); late > 2*time.Second {
			t.Errorf("after move %d the last reading came after %v", i+1, late)
		}
	}
}

// TestASubscriptionDoesNotWaitForALostOwner: it goes on, and hears everything once there is an owner.
func TestASubscriptionDoesNotWaitForALostOwner(t *testing.T) {
	f := newFleet(t)
	a, b := f.join("a"), f.join("b")
	d := f.in(1)
	began := time.Now()
	heard, _ := a.follow(d)
	if waited := time.Since(began); waited < 900*time.Millisecond || waited > 5*time.Second {
		t.Errorf("it waited %v, want the budget of 1 s", waited)
	}
	a.reading(d, 1)
	a.reading(d, 2)
	b.own(1, 1)
	f.hears(heard, 2)
	a.reading(d, 3)
	f.hears(heard, 3)
}

// TestAnOwnerThatForgot: the watch begins anew at the next renewal, and what was missed is read.
func TestAnOwnerThatForgot(t *testing.T) {
	f := newFleet(t)
	a, b := f.join("a"), f.join("b")
	b.own(0, 1)
	f.eventually("the owner to be heard of", func() bool { return a.owners.Load() == 1 })
	d := f.in(0)
	heard, _ := a.follow(d)
	unwatch, err := proto.Marshal(&sluicepb.CoreMessage{
		Entity: &sluicepb.EntityId{Type: ident.Device, Id: d.ID.ID[:]},
		Body: &sluicepb.CoreMessage_Unwatch{Unwatch: &sluicepb.UnwatchEntities{
			Node: "a", Entities: []*sluicepb.EntityId{{Type: ident.Device, Id: d.ID.ID[:]}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	a.send(d.ID.ID[:], topics.Core, unwatch)
	f.eventually("the owner to forget", func() bool { return b.watched() == 0 })
	a.reading(d, 1)
	f.eventually("the reading stored", func() bool { return len(f.points(d, "n")) == 1 })
	if heard.has(1) {
		t.Error("an owner that forgot told")
	}
	a.watches.Renew()
	f.hears(heard, 1)
}

// TestWatchesAreBounded: at the bound further ones are refused, clearly, and those there are renewed.
func TestWatchesAreBounded(t *testing.T) {
	f := newFleet(t)
	f.config.Watches = 2
	a, b := f.join("a"), f.join("b")
	b.own(0, 1)
	one, two, three := f.in(0), f.in(0), f.in(0)
	heard, _ := a.follow(one)
	_, stop := a.follow(two)
	end := a.watches.Watch(three.ID.Entity(), func(live.Update) {})
	if err := a.watches.Settle(t.Context(), three.ID.Entity()); fault.KindOf(err) != fault.Limited {
		t.Errorf("one too many: %v", err)
	}
	end()
	a.watches.Renew()
	a.reading(one, 1)
	f.hears(heard, 1)
	stop()
	f.eventually("room for another", func() bool { return b.watched() == 1 })
	late, _ := a.follow(three)
	a.reading(three, 1)
	f.hears(late, 1)
}

// TestATransportsSessionIsTakenOver, though the owner changed between the two connections, and each is in its own process.
func TestATransportsSessionIsTakenOver(t *testing.T) {
	f := newFleet(t)
	b, c := f.join("b"), f.join("c")
	d := f.in(0)
	closed := make(chan ident.ID, 10)
	for _, name := range []string{"mqtt-1", "mqtt-2"} {
		inbox := bustest.Dial(t, f.addr, bus.Options{Node: name, ReplyPrefix: topics.TransportResponses})
		inbox.OnMessage(func(r bus.Record) {
			var down sluicepb.DeviceDownlink
			if proto.Unmarshal(r.Value, &down) == nil && down.GetCloseSession().GetReason() == sluicepb.CloseReason_TAKEN_OVER {
				closed <- ident.ID(down.GetSessionId())
			}
		})
	}
	first, second := ident.New(), ident.New()
	opened := time.Now().UnixMilli()
	tell := func(session ident.ID, node string, at int64, again bool) {
		value, err := proto.Marshal(&sluicepb.CoreMessage{
			TenantId: d.Tenant.ID[:], Entity: &sluicepb.EntityId{Type: ident.Device, Id: d.ID.ID[:]},
			Body: &sluicepb.CoreMessage_SessionOpened{SessionOpened: &sluicepb.SessionOpened{
				SessionId: session[:], TransportNode: node, OpenedAtMs: at, Transport: "MQTT", Again: again,
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		b.send(d.ID.ID[:], topics.Core, value)
	}
	isClosed := func(want ident.ID) {
		t.Helper()
		select {
		case got := <-closed:
			if got != want {
				t.Errorf("session %v is closed, want %v", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("no session is closed")
		}
	}
	b.own(0, 1)
	tell(first, "mqtt-1", opened, false)
	f.eventually("the first session", func() bool { return b.count("core_node_sessions_opened_total") == 1 })
	b.lose(0)
	c.own(0, 2)
	tell(first, "mqtt-1", opened, true)
	tell(second, "mqtt-2", opened+1, false)
	isClosed(first)
	// Its transport did not hear: it goes on announcing. And a further owner hears of both.
	tell(first, "mqtt-1", opened, true)
	isClosed(first)
	c.crash(0)
	b.own(0, 3)
	tell(second, "mqtt-2", opened+1, true)
	tell(first, "mqtt-1", opened, true)
	isClosed(first)
	server := f.attributes(d, storage.Server)
	if !server["active"].Bool() || server["lastDisconnectTime"].Long() != 0 {
		t.Errorf("the device's state is %v", server)
	}
}

// TestAnOwnerThatDoesNotKnowYet: this node's own lease is over, and it has not noticed when the new owner says so.
func TestAnOwnerThatDoesNotKnowYet(t *testing.T) {
	f := newFleet(t)
	a, b := f.join("a"), f.join("b")
	d := f.in(0)
	a.own(0, 1)
	heard, _ := a.follow(d)
	a.reading(d, 1)
	f.hears(heard, 1)
	a.expire(0)
	b.own(0, 2)
	f.eventually("the new owner to be asked", func() bool { return b.watched() == 1 })
	b.reading(d, 2)
	f.hears(heard, 2)
}
