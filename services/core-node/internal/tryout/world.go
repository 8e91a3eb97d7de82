package tryout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/outside"
	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulechain"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/pebble"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// world is a platform of one tenant, in memory.
type world struct {
	clock    *clock
	store    storage.Store
	entities *entity.Registry
	services rule.Services
	compiler *rule.Compiler
	chains   *rule.Chains
	library  *rulechain.Library
	tenant   ident.TenantID
	names    map[ident.EntityID]string
	byName   map[string]ident.EntityID
}

// clock stands still unless it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// move sets the clock to at, if that is later.
func (c *clock) move(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at.After(c.now) {
		c.now = at
	}
}

// silent announces to nobody: there is one node.
type silent struct{}

func (silent) Announce(context.Context, *sluicepb.EntityEvent) error { return nil }

// newWorld makes a world without chains. The caller closes its store.
func (p *Platform) newWorld(ctx context.Context, now time.Time, kinds []rule.Kind) (w *world, err error) {
	w = &world{clock: &clock{now: now}, names: map[ident.EntityID]string{}, byName: map[string]ident.EntityID{}}
	w.store, err = pebble.Open(pebble.Options{Dir: "store", FS: vfs.NewMem(), Now: w.clock.Now, DiskReserve: -1})
	if err != nil {
		return nil, fmt.Errorf("open a store in memory: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.store.Close())
		}
	}()
	w.entities = entity.New(w.store, entity.Options{Events: silent{}, Values: w.store, Now: w.clock.Now})
	relations := relation.New(w.store, p.Relations)
	log := slog.New(slog.DiscardHandler)
	w.services = rule.Services{
		Log: log, Now: w.clock.Now, Service: "tryout", Scripts: p.Scripts, Values: w.store, Eraser: w.store, Entities: w.entities, Relations: relations,
		Alarms:  alarm.New(alarm.Options{Store: w.store, Relations: relations, Settings: p.Alarms, Now: w.clock.Now}),
		Outside: outside.New(outside.Options{Settings: p.Outside, Now: w.clock.Now}),
	}
	w.compiler = rule.NewCompiler(kinds, w.services)
	w.chains = rule.NewChains(w.entities.RuleChains, w.entities.Devices, w.compiler)
	w.library = rulechain.New(rulechain.Options{Chains: w.entities.RuleChains, Compiler: w.compiler, MaxBytes: p.MaxChain, Now: w.clock.Now})
	if _, err := w.entities.Tenants.CreateProfile(ctx, entity.TenantProfile{Name: "Default", Data: json.RawMessage(`{}`)}); err != nil {
		return nil, fmt.Errorf("make a tenant profile: %w", err)
	}
	tenant, err := w.entities.Tenants.Create(ctx, entity.Tenant{Title: "Tenant"})
	if err != nil {
		return nil, fmt.Errorf("make a tenant: %w", err)
	}
	w.tenant = tenant.ID
	w.name(w.tenant.Entity(), "Tenant")
	return w, nil
}

func (w *world) name(e ident.EntityID, name string) { w.names[e], w.byName[name] = name, e }

// called is how e is shown.
func (w *world) called(e ident.EntityID) string {
	if name, known := w.names[e]; known {
		return name
	}
	return e.Type.String()
}

// load imports the chains and makes the start the root. It returns their names by id.
func (w *world) load(ctx context.Context, chains []exported, start string) (root ident.ID, names map[ident.ID]string, err error) {
	members := make([]rulechain.Member, len(chains))
	for i := range chains {
		members[i] = chains[i].Member
		nodes := members[i].Metadata.Nodes
		for n := range nodes {
			nodes[n].DebugMode, nodes[n].DebugSettings = true, nil // how the engine tells what it does
		}
	}
	outcomes, err := w.library.Import(ctx, w.tenant, members, false)
	if err != nil {
		return root, nil, fmt.Errorf("import: %w", err)
	}
	at := slices.IndexFunc(chains, func(c exported) bool {
		return start == "" && c.root || start != "" && c.RuleChain.Name == start
	})
	if at < 0 && start != "" {
		return root, nil, fmt.Errorf("start: there is no rule chain %q in the file", start)
	}
	names = map[ident.ID]string{}
	for i, o := range outcomes {
		if o.Err != nil {
			return root, nil, fmt.Errorf("rule chain %q: %w", o.Name, o.Err)
		}
		names[outcomes[i].ID] = o.Name
	}
	root = outcomes[max(at, 0)].ID
	if _, err := w.entities.RuleChains.SetRoot(ctx, w.tenant, root); err != nil {
		return root, nil, fmt.Errorf("start at rule chain %q: %w", names[root], err)
	}
	w.chains.ForgetAll()
	return root, names, nil
}

// give makes the entities there are, customers first, and what they have.
func (w *world) give(ctx context.Context, given []Entity, relations []Relation) error {
	given = slices.Clone(given)
	slices.SortStableFunc(given, func(a, b Entity) int {
		return b.rank() - a.rank()
	})
	for i := range given {
		if err := w.make(ctx, &given[i]); err != nil {
			return fmt.Errorf("given %s %q: %w", given[i].Type, given[i].Name, err)
		}
	}
	for i, r := range relations {
		key := relation.Key{From: w.byName[r.From], To: w.byName[r.To], Type: r.Type}
		for field, e := range map[string]ident.EntityID{"from": key.From, "to": key.To} {
			if e.ID.IsZero() {
				return fmt.Errorf("relations[%d].%s: no such entity is given", i, field)
			}
		}
		if key.Type == "" {
			key.Type = relation.Contains
		}
		if _, err := w.services.Relations.Save(ctx, w.tenant, relation.Relation{Key: key}); err != nil {
			return fmt.Errorf("relations[%d]: %w", i, err)
		}
	}
	return nil
}

func (e *Entity) rank() int {
	if e.Type == ident.Customer.String() {
		return 1
	}
	return 0
}

func (w *world) make(ctx context.Context, e *Entity) error {
	if _, twice := w.byName[e.Name]; twice {
		return errors.New("name: another entity has it")
	}
	customer := ident.CustomerID{ID: w.byName[e.Customer].ID}
	if e.Customer != "" && w.byName[e.Customer].Type != ident.Customer {
		return fmt.Errorf("customer: no customer %q is given", e.Customer)
	}
	var id ident.EntityID
	switch e.Type {
	case "", ident.Device.String():
		d, err := w.entities.Devices.Create(ctx, entity.Device{Tenant: w.tenant, Name: e.Name, Type: e.Profile, Label: e.Label, Customer: customer}, nil)
		if err != nil {
			return err
		}
		id = d.ID.Entity()
	case ident.Asset.String():
		a, err := w.entities.Assets.Create(ctx, entity.Asset{Tenant: w.tenant, Name: e.Name, Type: e.Profile, Label: e.Label, Customer: customer})
		if err != nil {
			return err
		}
		id = a.Entity()
	case ident.Customer.String():
		c, err := w.entities.Customers.Create(ctx, entity.Customer{Tenant: w.tenant, Title: e.Name})
		if err != nil {
			return err
		}
		id = c.ID.Entity()
	default:
		return errors.New("type: DEVICE, ASSET or CUSTOMER")
	}
	w.name(id, e.Name)
	return w.fill(ctx, id, e)
}

// fill writes what e has.
func (w *world) fill(ctx context.Context, id ident.EntityID, e *Entity) error {
	now := w.clock.Now()
	var batch []storage.Write
	for scopeName, text := range e.Attributes {
		scope, known := telemetry.ParseScope(scopeName)
		if !known {
			return fmt.Errorf("attributes: there is no scope %q", scopeName)
		}
		values, err := telemetry.ParseObject(string(text))
		if err != nil {
			return fmt.Errorf("attributes.%s: %w", scopeName, err)
		}
		batch = append(batch, storage.Write{Entity: id, Scope: scope, Time: now.UnixMilli(), Values: values})
	}
	if len(e.Telemetry) > 0 {
		records, err := telemetry.ParseRecords(string(e.Telemetry), now.UnixMilli())
		if err != nil {
			return fmt.Errorf("telemetry: %w", err)
		}
		for _, r := range records {
			batch = append(batch, storage.Write{Entity: id, Time: r.Time, Values: r.Values})
		}
	}
	stamp := now.Add(-time.Hour).UnixMicro() // before whatever the chain writes
	for i := range batch {
		batch[i].Stamp = stamp + int64(i)
	}
	if len(batch) == 0 {
		return nil
	}
	return w.store.Write(ctx, batch)
}
