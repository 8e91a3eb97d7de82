package alarm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Store is what alarms are kept in.
type Store interface {
	storage.Entities
	storage.Rows
}

// Relations finds what an entity is related to.
type Relations interface {
	Search(ctx context.Context, tenant ident.TenantID, q relation.Query) ([]relation.Relation, error)
}

// Settings are what operators set of alarms.
type Settings struct {
	Scan    int `name:"core-alarm-scan" help:"Most alarms looked through for one list; more is refused." default:"100000"`
	Places  int `name:"core-alarm-places" help:"Most entities an alarm is propagated to, the nearest first." default:"100"`
	Details int `name:"core-alarm-details" help:"Largest details of an alarm, in bytes." default:"262144"`
}

// DefaultSettings are the settings nobody changed.
func DefaultSettings() Settings { return Settings{Scan: 100_000, Places: 100, Details: 256 << 10} }

// Options is what a Registry works with. Store and Relations are required.
type Options struct {
	Store     Store
	Relations Relations
	Settings  Settings         // the zero value means DefaultSettings
	Now       func() time.Time // nil: time.Now
}

// Registry keeps alarms. Whether the originator exists, and who may touch it, is the caller's to know. Errors carry a
// fault.Kind where they are the caller's fault; not found is storage.ErrNotFound. Safe for concurrent use.
type Registry struct{ options Options }

// New returns the alarms kept in o.Store.
func New(o Options) *Registry {
	if o.Settings == (Settings{}) {
		o.Settings = DefaultSettings()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Registry{o}
}

func (r *Registry) now() int64 { return r.options.Now().UnixMilli() }

// Outcome says what came of a change.
type Outcome int

// The outcomes.
const (
	Unchanged Outcome = iota // nothing was different
	Created
	Updated
	SeverityUpdated // updated, its severity among the rest
	Cleared
)

// Result is what came of a change: the alarm as it is now and, unless it was created, as it was before.
type Result struct {
	Outcome  Outcome
	Now, Old Alarm
}

// Request asks for an alarm of a type at an originator to be active.
type Request struct {
	// ID is that of a new alarm, for who may ask twice: if there is an alarm of it already, asking changes nothing, and it is
	// Created. Zero: an id of its own.
	ID         ident.ID
	Tenant     ident.TenantID
	Originator ident.EntityID
	Customer   ident.CustomerID // the originator's, if it has one
	Type       string
	Severity   Severity
	// StartTs and EndTs are ms; StartTs counts only for a new alarm. 0 is now; a new alarm's EndTs is its StartTs.
	StartTs, EndTs int64
	Details        json.RawMessage // nil keeps what an active alarm has
	Propagation
}

func (r *Registry) checkRequest(q *Request) error {
	if err := checkType(q.Type); err != nil {
		return err
	}
	if q.Originator.ID.IsZero() {
		return fault.New(fault.Invalid, "originator: Alarm originator should be specified!")
	}
	if q.Severity.rank() < 0 {
		return fault.New(fault.Invalid, "severity: Alarm severity should be specified!")
	}
	return r.checkDetails(q.Details)
}

func (r *Registry) checkDetails(details json.RawMessage) error {
	if len(details) > r.options.Settings.Details {
		return fault.New(fault.Invalid, fmt.Sprintf("details: more than %d bytes", r.options.Settings.Details))
	}
	if len(details) > 0 && !json.Valid(details) {
		return fault.New(fault.Invalid, "details: is not valid JSON")
	}
	return nil
}

// attempts bounds how often a change is tried again after somebody else's.
const attempts = 16

// CreateOrUpdate makes an alarm, or brings the active one of that originator and type up to date: severity, end,
// details and propagation. Of requests made at once one creates and the others update.
func (r *Registry) CreateOrUpdate(ctx context.Context, q Request) (Result, error) {
	if err := r.checkRequest(&q); err != nil {
		return Result{}, err
	}
	for range attempts {
		active, err := r.Active(ctx, q.Tenant, q.Originator, q.Type)
		if err == nil && active.ID == q.ID {
			return Result{Outcome: Created, Now: active}, nil
		}
		if errors.Is(err, storage.ErrNotFound) {
			created, err := r.createOnce(ctx, q)
			if errors.Is(err, storage.ErrTaken) {
				continue // somebody else was faster
			}
			return Result{Outcome: Created, Now: created}, err
		}
		if err != nil {
			return Result{}, err
		}
		result, err := r.Change(ctx, q.Tenant, active.ID, func(a *Alarm) error {
			if a.Cleared {
				return errClearedMeanwhile
			}
			q.apply(a, r.now())
			return nil
		})
		if errors.Is(err, errClearedMeanwhile) || errors.Is(err, storage.ErrNotFound) {
			continue
		}
		return result, err
	}
	return Result{}, conflict()
}

var errClearedMeanwhile = errors.New("alarm: cleared meanwhile")

func (q Request) apply(a *Alarm, now int64) {
	a.Severity = q.Severity
	a.EndTs = q.EndTs
	if a.EndTs == 0 {
		a.EndTs = now
	}
	if q.Details != nil {
		a.Details = q.Details
	}
	a.Propagation = q.Propagation
}

func conflict() error {
	return fault.Wrap(fault.Conflict, "Alarm was changed by someone else meanwhile!", storage.ErrVersion)
}

func (r *Registry) create(ctx context.Context, q Request) (Alarm, error) {
	now := r.now()
	if q.ID.IsZero() {
		q.ID = ident.New()
	}
	a := Alarm{
		ID: q.ID, Tenant: q.Tenant, Customer: q.Customer, Type: q.Type, Originator: q.Originator, Severity: q.Severity,
		CreatedTime: now, StartTs: q.StartTs, EndTs: q.EndTs, Details: q.Details, Propagation: q.Propagation,
	}
	if a.StartTs == 0 {
		a.StartTs = now
	}
	if a.EndTs == 0 {
		a.EndTs = a.StartTs
	}
	var err error
	if a.Places, err = r.places(ctx, a); err != nil {
		return Alarm{}, err
	}
	d, err := a.document()
	if err != nil {
		return Alarm{}, err
	}
	if err := r.mark(ctx, a, true); err != nil {
		return Alarm{}, err
	}
	if err := r.options.Store.Create(ctx, d); err != nil {
		return Alarm{}, errors.Join(fmt.Errorf("create alarm: %w", err), r.unlist(ctx, a))
	}
	a.Version = 1
	return a, r.settle(ctx, a)
}

// Active returns the alarm of a type that is not cleared; storage.ErrNotFound when there is none.
func (r *Registry) Active(ctx context.Context, tenant ident.TenantID, originator ident.EntityID, kind string) (Alarm, error) {
	d, err := r.options.Store.ByClaim(ctx, activeClaim(tenant, originator, kind))
	if err != nil {
		return Alarm{}, notFound(err)
	}
	return decode(d)
}

// Get returns a tenant's alarm.
func (r *Registry) Get(ctx context.Context, tenant ident.TenantID, id ident.ID) (Alarm, error) {
	d, err := r.options.Store.Get(ctx, tenant, ident.EntityID{Type: ident.Alarm, ID: id})
	if err != nil {
		return Alarm{}, notFound(err)
	}
	return decode(d)
}

func notFound(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return fault.Wrap(fault.NotFound, "Requested item wasn't found!", err)
	}
	return fmt.Errorf("read alarm: %w", err)
}

// Change applies change to an alarm, again when somebody else's came first. What names it (id, type, originator, times of
// creation) is left as it was. An error of change's own is returned as it is, and nothing is changed.
func (r *Registry) Change(ctx context.Context, tenant ident.TenantID, id ident.ID, change func(*Alarm) error) (Result, error) {
	for range attempts {
		old, err := r.Get(ctx, tenant, id)
		if err != nil {
			return Result{}, err
		}
		next := old
		next.Places = slices.Clone(old.Places)
		if err := change(&next); err != nil {
			return Result{}, err
		}
		if err := r.checkDetails(next.Details); err != nil {
			return Result{}, err
		}
		next.keep(old)
		result, err := r.replace(ctx, old, next)
		if errors.Is(err, storage.ErrVersion) {
			continue
		}
		return result, err
	}
	return Result{}, conflict()
}

// keep takes over from old what never changes.
func (a *Alarm) keep(old Alarm) {
	a.ID, a.Tenant, a.Customer, a.Type, a.Originator = old.ID, old.Tenant, old.Customer, old.Type, old.Originator
	a.CreatedTime, a.Version = old.CreatedTime, old.Version
}

// replace stores next in place of old. Rows of the lists that are to say something else are marked before and settled after.
func (r *Registry) replace(ctx context.Context, old, next Alarm) (Result, error) {
	if old.Propagation.differs(next.Propagation) {
		more, err := r.places(ctx, next)
		if err != nil {
			return Result{}, err
		}
		next.Places = union(old.Places, more, r.options.Settings.Places+1)
	}
	before, err := old.document()
	if err != nil {
		return Result{}, err
	}
	d, err := next.document()
	if err != nil {
		return Result{}, err
	}
	if bytes.Equal(before.Body, d.Body) {
		return Result{Outcome: Unchanged, Now: old, Old: old}, nil
	}
	listed := old.entry() != next.entry() || len(old.Places) != len(next.Places)
	if listed {
		if err := r.mark(ctx, next, true); err != nil {
			return Result{}, err
		}
	}
	if next.Version, err = r.options.Store.Update(ctx, d); err != nil {
		return Result{}, r.refused(ctx, next, listed, err)
	}
	outcome := Updated
	switch {
	case next.Cleared && !old.Cleared:
		outcome = Cleared
	case next.Severity != old.Severity:
		outcome = SeverityUpdated
	}
	if listed {
		err = r.settle(ctx, next)
	}
	return Result{Outcome: outcome, Now: next, Old: old}, err
}

// refused says why an update of next, whose rows may be marked, was not taken.
func (r *Registry) refused(ctx context.Context, next Alarm, marked bool, err error) error {
	switch {
	case errors.Is(err, storage.ErrTaken):
		return fault.Wrap(fault.Conflict, "Another alarm of that type is active!", err)
	case errors.Is(err, storage.ErrNotFound) && marked:
		return errors.Join(notFound(err), r.unlist(ctx, next))
	}
	return fmt.Errorf("update alarm: %w", err)
}

func (p Propagation) differs(from Propagation) bool {
	return p.Propagate != from.Propagate || p.PropagateToOwner != from.PropagateToOwner || p.PropagateToTenant != from.PropagateToTenant ||
		!slices.Equal(p.RelationTypes, from.RelationTypes)
}

// Clear ends an alarm at time at (ms; 0 is now) with details, nil keeping those it has. One that is cleared already is Unchanged.
func (r *Registry) Clear(ctx context.Context, tenant ident.TenantID, id ident.ID, at int64, details json.RawMessage) (Result, error) {
	return r.Change(ctx, tenant, id, func(a *Alarm) error {
		if a.Cleared {
			return nil
		}
		a.Cleared, a.ClearTs = true, at
		if at == 0 {
			a.ClearTs = r.now()
		}
		if details != nil {
			a.Details = details
		}
		return nil
	})
}

// Acknowledge marks an alarm as seen at time at (ms; 0 is now). One that was before is Unchanged.
func (r *Registry) Acknowledge(ctx context.Context, tenant ident.TenantID, id ident.ID, at int64) (Result, error) {
	return r.Change(ctx, tenant, id, func(a *Alarm) error {
		if a.Acknowledged {
			return nil
		}
		a.Acknowledged, a.AckTs = true, at
		if at == 0 {
			a.AckTs = r.now()
		}
		return nil
	})
}

// Assign gives an alarm to a user, or for the zero id to nobody. Who has it already makes it Unchanged.
func (r *Registry) Assign(ctx context.Context, tenant ident.TenantID, id, user ident.ID) (Result, error) {
	return r.Change(ctx, tenant, id, func(a *Alarm) error {
		if a.Assignee == user {
			return nil
		}
		a.Assignee, a.AssignTs = user, r.now()
		return nil
	})
}

// Delete removes an alarm and returns what it was.
func (r *Registry) Delete(ctx context.Context, tenant ident.TenantID, id ident.ID) (Alarm, error) {
	a, err := r.Get(ctx, tenant, id)
	if err != nil {
		return Alarm{}, err
	}
	if err := r.mark(ctx, a, true); err != nil {
		return Alarm{}, err
	}
	if err := r.options.Store.Delete(ctx, tenant, a.Entity(), 0); err != nil {
		return Alarm{}, notFound(err)
	}
	return a, r.unlist(ctx, a)
}
