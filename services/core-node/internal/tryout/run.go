package tryout

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/live"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// mostFlights bounds what one try may have under way: chains that raise messages without end are told of.
const mostFlights = 1000

// run is one try under way.
type run struct {
	*world
	platform *Platform
	root     ident.ID
	chainOf  map[ident.ID]string
	engine   *rule.Engine
	ticks    map[ident.ID][]byte // what generators remember
	report   Report
	steps    steps
	watch    func() time.Time // nil: nothing is measured

	mu     sync.Mutex
	onward []rule.Onward
	sent   []Sent
}

// Run tries a chain. What is wrong with the chain or what is given is an error; what goes wrong with a message is in the
// report. Chains that need scripts need the platform's Scripts to run.
func (p *Platform) Run(ctx context.Context, o Options) (report Report, err error) {
	chains, err := read(o.File)
	if err != nil {
		return report, err
	}
	now := o.Now
	if now.IsZero() {
		now = time.Now()
	}
	r := &run{platform: p, ticks: map[ident.ID][]byte{}, watch: o.Stopwatch}
	if r.world, err = p.newWorld(ctx, now, r.kinds(p.Kinds, o.Outcomes)); err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, r.services.Outside.Close(), r.store.Close()) }()
	if err := r.give(ctx, o.Given, o.Relations); err != nil {
		return report, err
	}
	if r.root, r.chainOf, err = r.load(ctx, chains, o.Start); err != nil {
		return report, err
	}
	r.report.Chain = r.chainOf[r.root]
	r.steps.run = r
	r.engine = rule.NewEngine(r.engineOptions())
	working, end := context.WithCancel(ctx)
	defer func() {
		end()
		r.engine.Close()
	}()
	for i, m := range o.Messages {
		if err := r.enter(working, i, m); err != nil {
			return report, fmt.Errorf("messages[%d]: %w", i, err)
		}
	}
	r.report.Sent = r.sent
	r.report.Stored, err = r.stored(ctx)
	return r.report, err
}

func (r *run) engineOptions() rule.Options {
	const one = 1 // so that the order is the same every time
	return rule.Options{
		Saver:    telemetry.NewSaver(r.store, live.NewHub(), r.clock.Now, 0),
		Stored:   func(*telemetry.Save) {},
		Deleted:  func(telemetry.Deletion) {},
		Finished: func(*rule.Flight) bool { return false },
		Steady:   func(_ context.Context, _ string, op func() error) error { return op() },
		Chain: func(ctx context.Context, tenant ident.TenantID, id ident.ID) (*rule.Chain, error) {
			chain, err := r.chains.ByID(ctx, r.clock.Now(), tenant, id)
			if errors.Is(err, storage.ErrNotFound) {
				return nil, rule.ErrNoChain
			}
			return chain, err
		},
		HandOn: func(_ context.Context, o rule.Onward) error {
			if o.Answer != nil {
				return nil // there is no session
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.keep(o)
			return nil
		},
		Ask: func(context.Context, rule.Asking) (*rule.Reply, error) {
			return nil, errors.New("no device is asked when a chain is tried out")
		},
		Debug:   r.steps.see,
		Patient: func() bool { return true }, // no line is too long
		Now:     r.clock.Now,
		Slots:   one, ScriptSlots: one, ScriptShare: func() int { return one }, HandOns: one, Line: mostFlights, Copies: 100 * mostFlights,
		Timeout: r.platform.NodeTimeout, Executions: r.platform.Executions,
	}
}

// enter has a message, and all that comes of it, run through.
func (r *run) enter(ctx context.Context, i int, m Message) error {
	if i > 0 || m.After != "" {
		pause, err := time.ParseDuration(cmp.Or(m.After, "1s"))
		if err != nil || pause < 0 {
			return fmt.Errorf("after: %q is no time such as 10s", m.After)
		}
		r.clock.move(r.clock.Now().Add(pause))
	}
	f, from, err := r.flight(ctx, m)
	if err != nil {
		return err
	}
	for {
		if err := r.fly(ctx, f, from); err != nil {
			return err
		}
		o, more := r.next()
		if !more {
			return nil
		}
		if len(r.report.Flights) >= mostFlights {
			return fmt.Errorf("more than %d messages came of it", mostFlights)
		}
		if f, from, err = r.resumed(ctx, o); err != nil {
			return err
		}
	}
}

// keep has o go on when it is its turn, and one of those in its place.
func (r *run) keep(o rule.Onward) {
	at := slices.IndexFunc(r.onward, func(before rule.Onward) bool { return !o.Place.IsZero() && before.Place == o.Place })
	if at < 0 {
		r.onward = append(r.onward, o)
		return
	}
	switch before := r.onward[at].At; {
	case o.At.Before(before):
		r.onward[at] = o
	case !o.Yields:
		o.At = before
		r.onward[at] = o
	}
}

// next is what was handed on first; what is kept back comes last, the earliest first.
func (r *run) next() (next rule.Onward, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.onward) == 0 {
		return next, false
	}
	at := 0
	for i, o := range r.onward {
		if o.At.Before(r.onward[at].At) {
			at = i
		}
	}
	next = r.onward[at]
	r.onward = append(r.onward[:at], r.onward[at+1:]...)
	return next, true
}

// resumed is the flight of a message that was handed on. One kept back moves the clock.
func (r *run) resumed(ctx context.Context, o rule.Onward) (*rule.Flight, string, error) {
	from := "raised"
	switch {
	case !o.At.IsZero():
		from = "kept until " + o.At.UTC().Format(time.RFC3339)
		r.clock.move(o.At)
	case o.Position != nil:
		from = "queue " + cmp.Or(o.Queue, "Main")
	}
	m := *o.Message
	m.Queue = o.Queue
	chain, err := r.chains.For(ctx, r.clock.Now(), r.tenant, m.Profile)
	return &rule.Flight{Message: m, Chain: chain, Position: o.Position, Executions: o.Executions}, from, err
}

// fly runs one flight to its end.
func (r *run) fly(ctx context.Context, f *rule.Flight, from string) error {
	r.steps.begin()
	if err := r.engine.Start(ctx, f); err != nil {
		return err
	}
	for {
		switch {
		case r.engine.Waiting():
			if err := r.engine.Flush(ctx); err != nil {
				return err
			}
		case r.engine.Busy():
			select {
			case result := <-r.engine.Results():
				if err := r.engine.Resume(ctx, result); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		default:
			done := Flight{From: from, Type: f.Message.Type, Originator: r.called(f.Message.Originator), Steps: r.steps.end(f)}
			if err := f.Err(); err != nil {
				done.Error, done.Where = err.Error(), f.Where()
			}
			if f.Tick != nil && f.Position != nil {
				r.ticks[f.Position.Node] = f.Tick.State
			}
			r.report.Flights = append(r.report.Flights, done)
			return nil
		}
	}
}

// flight makes a flight of a message somebody gave.
func (r *run) flight(ctx context.Context, m Message) (*rule.Flight, string, error) {
	now := r.clock.Now()
	in := rule.Message{
		ID: values.MessageID(ident.New()), Tenant: r.tenant, Type: cmp.Or(m.Type, rule.PostTelemetry),
		Time: now.UnixMilli(), ReceivedAt: now.UnixMicro(),
	}
	if m.Tick != "" {
		return r.tick(ctx, m.Tick, in)
	}
	if err := r.originate(ctx, &in, m); err != nil {
		return nil, "", err
	}
	in.Metadata = in.Metadata.WithAll(m.Metadata)
	in.Body = rule.TextBody("{}")
	if len(m.Body) > 0 {
		in.Body = rule.TextBody(string(m.Body))
		if kvs, err := telemetry.ParseObject(string(m.Body)); err == nil && (in.Type == rule.PostTelemetry || in.Type == rule.PostAttributes) {
			in.Body = rule.BodyOf(kvs) // as it comes from a device
		}
	}
	chain, err := r.chains.For(ctx, now, r.tenant, in.Profile)
	return &rule.Flight{Message: in, Chain: chain}, "given", err
}

// originate fills in whose message it is, and what the platform says of that.
func (r *run) originate(ctx context.Context, in *rule.Message, m Message) error {
	name := cmp.Or(m.Asset, m.Customer, m.Device, "Device")
	id, known := r.byName[name]
	if !known && m.Asset == "" && m.Customer == "" {
		if err := r.make(ctx, &Entity{Name: name}); err != nil {
			return fmt.Errorf("device %q: %w", name, err)
		}
		id, known = r.byName[name], true
	}
	want := ident.Device
	if m.Asset != "" {
		want = ident.Asset
	} else if m.Customer != "" {
		want = ident.Customer
	}
	if !known || id.Type != want {
		return fmt.Errorf("%s %q is not given", want, name)
	}
	in.Originator = id
	switch id.Type {
	case ident.Customer:
		in.Customer = ident.CustomerID{ID: id.ID}
	case ident.Asset:
		a, err := r.entities.Assets.Get(ctx, r.tenant, id.ID)
		if err != nil {
			return err
		}
		in.Customer = a.Customer
	case ident.Device:
		d, err := r.entities.Devices.Device(ctx, r.tenant, ident.DeviceID{ID: id.ID})
		if err != nil {
			return err
		}
		in.Profile, in.Customer = d.Profile, d.Customer
		in.Metadata = rule.Metadata{DeviceName: d.Name, DeviceType: d.Type, NotifyOff: in.Type == rule.PostAttributes}
		in.Metadata.HasTs, in.Metadata.Ts = in.Type == rule.PostTelemetry, in.Time
	}
	return nil
}

// generatorTime is the type of what is no message, but a generator's time.
const generatorTime = "GENERATOR_NODE_SELF_MSG"

// tick is the time of the generator node of that name.
func (r *run) tick(ctx context.Context, name string, in rule.Message) (*rule.Flight, string, error) {
	for id := range r.chainOf {
		chain, err := r.chains.ByID(ctx, r.clock.Now(), r.tenant, id)
		if err != nil {
			return nil, "", err
		}
		var found *rule.Flight
		chain.EachSource(func(node ident.ID, s rule.Source) {
			if r.steps.name(chain.ID, node) != name {
				return
			}
			in.Type, in.Originator, in.Body = generatorTime, s.Originator(), rule.TextBody("{}")
			found = &rule.Flight{
				Message: in, Chain: chain, Position: &rule.Position{Chain: chain.ID, Node: node}, Tick: &rule.Tick{State: r.ticks[node]},
			}
			r.names[in.Originator] = cmp.Or(r.names[in.Originator], name)
		})
		if found != nil {
			return found, "generator " + name, nil
		}
	}
	return nil, "", fmt.Errorf("tick: there is no generator %q", name)
}

// asJSON is a body as a report shows it.
func asJSON(text string) json.RawMessage {
	if json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	quoted, _ := json.Marshal(text) // a text always encodes
	return quoted
}
