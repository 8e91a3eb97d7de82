package alarm

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Lists are groups of rows in order of creation: one of the tenant's, one of each customer's, one of each entity the alarm
// appears at. A row repeats what lists choose by, so that a list reads no documents but those it shows.
//
// A row that is about to differ from its document is marked first: whoever meets a marked row asks the document. It is
// settled after the document was written, and then compared with the document once more, because somebody else may
// have changed that meanwhile and settled first. So a kill leaves marked rows, never wrong ones.

// entry is the body of a row.
type entry struct {
	Type         string
	Originator   ident.EntityID
	Severity     Severity
	Acknowledged bool     `json:",omitempty"`
	Cleared      bool     `json:",omitempty"`
	Assignee     ident.ID `json:",omitzero"`
	StartTs      int64
	Marked       bool `json:",omitempty"`
}

func (a Alarm) entry() entry {
	return entry{
		Type: a.Type, Originator: a.Originator, Severity: a.Severity, Acknowledged: a.Acknowledged, Cleared: a.Cleared,
		Assignee: a.Assignee, StartTs: a.StartTs,
	}
}

func rowKey(created int64, id ident.ID) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(created)), id[:]...)
}

func tenantGroup(tenant ident.TenantID) string { return "alarm/" + tenant.String() }

func customerGroup(tenant ident.TenantID, c ident.CustomerID) string {
	return "alarm/" + tenant.String() + "/customer/" + c.String()
}

func entityGroup(tenant ident.TenantID, e ident.EntityID) string {
	return "alarm/" + tenant.String() + "/at/" + e.Type.String() + "/" + e.ID.String()
}

func typesGroup(tenant ident.TenantID) string { return "alarm-types/" + tenant.String() }

func (a Alarm) groups() []string {
	groups := []string{tenantGroup(a.Tenant)}
	if !a.Customer.IsZero() {
		groups = append(groups, customerGroup(a.Tenant, a.Customer))
	}
	for _, e := range a.Places {
		groups = append(groups, entityGroup(a.Tenant, e))
	}
	return groups
}

// mark writes a's rows, marked or settled.
func (r *Registry) mark(ctx context.Context, a Alarm, marked bool) error {
	e := a.entry()
	e.Marked = marked
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("list alarm: %w", err)
	}
	row := []storage.Row{{Key: rowKey(a.CreatedTime, a.ID), Body: body}}
	for _, group := range a.groups() {
		if err := r.options.Store.ChangeRows(ctx, group, row, nil, 0); err != nil {
			return fmt.Errorf("list alarm: %w", err)
		}
	}
	if marked || a.Version != 1 {
		return nil
	}
	// Types that were in use are offered to people who search.
	err = r.options.Store.ChangeRows(ctx, typesGroup(a.Tenant), []storage.Row{{Key: []byte(a.Type)}}, nil, 0)
	if err != nil {
		return fmt.Errorf("list alarm: %w", err)
	}
	return nil
}

// settle writes a's rows after its document, until they say what that says.
func (r *Registry) settle(ctx context.Context, a Alarm) error {
	for range attempts {
		if err := r.mark(ctx, a, false); err != nil {
			return err
		}
		is, err := r.Get(ctx, a.Tenant, a.ID)
		if errors.Is(err, storage.ErrNotFound) {
			return r.unlist(ctx, a)
		}
		if err != nil {
			return err
		}
		if is.entry() == a.entry() && slices.Equal(is.Places, a.Places) {
			return nil
		}
		a = is
	}
	return r.mark(ctx, a, true)
}

// unlist removes a's rows.
func (r *Registry) unlist(ctx context.Context, a Alarm) error {
	for _, group := range a.groups() {
		if err := r.options.Store.ChangeRows(ctx, group, nil, [][]byte{rowKey(a.CreatedTime, a.ID)}, 0); err != nil {
			return fmt.Errorf("unlist alarm: %w", err)
		}
	}
	return nil
}

// places returns the entities in whose lists a appears, the originator first and each once.
func (r *Registry) places(ctx context.Context, a Alarm) ([]ident.EntityID, error) {
	places := []ident.EntityID{a.Originator}
	var more []ident.EntityID
	if a.PropagateToTenant {
		more = append(more, a.Tenant.Entity())
	}
	if a.PropagateToOwner && a.Customer.IsZero() {
		more = append(more, a.Tenant.Entity())
	} else if a.PropagateToOwner {
		more = append(more, a.Customer.Entity())
	}
	if a.Propagate {
		q := relation.Query{Root: a.Originator, Direction: relation.To}
		for _, kind := range a.RelationTypes {
			q.Filters = append(q.Filters, relation.Filter{Type: kind})
		}
		found, err := r.options.Relations.Search(ctx, a.Tenant, q)
		if err != nil {
			return nil, fmt.Errorf("find where the alarm is propagated to: %w", err)
		}
		for _, one := range found {
			more = append(more, one.From)
		}
	}
	return union(places, more, r.options.Settings.Places+1), nil
}

// union appends what is new in more, up to most in all.
func union(places, more []ident.EntityID, most int) []ident.EntityID {
	for _, e := range more {
		if len(places) < most && !slices.Contains(places, e) {
			places = append(places, e)
		}
	}
	return places
}

// EntityDeleted removes the alarms of an entity that is going away, and its list. With a tenant go all its lists.
func (r *Registry) EntityDeleted(ctx context.Context, tenant ident.TenantID, e ident.EntityID) error {
	if e.Type == ident.Tenant {
		tenant = ident.TenantID{ID: e.ID}
	}
	group := entityGroup(tenant, e)
	var own []ident.ID
	for row, err := range r.options.Store.ScanRows(ctx, group, nil, nil, false) {
		if err != nil {
			return fmt.Errorf("delete alarms: %w", err)
		}
		var is entry
		if _, id, err := readRow(row, &is); err != nil {
			return err
		} else if is.Originator == e {
			own = append(own, id)
		}
	}
	for _, id := range own {
		if _, err := r.Delete(ctx, tenant, id); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
	}
	groups := []string{group}
	switch e.Type {
	case ident.Tenant:
		groups = append(groups, tenantGroup(tenant), typesGroup(tenant))
	case ident.Customer:
		groups = append(groups, customerGroup(tenant, ident.CustomerID{ID: e.ID}))
	}
	for _, group := range groups {
		if err := r.options.Store.DeleteRows(ctx, group); err != nil {
			return fmt.Errorf("delete alarms: %w", err)
		}
	}
	return nil
}

func readRow(row storage.Row, into *entry) (created int64, id ident.ID, err error) {
	if len(row.Key) != 8+16 {
		return 0, id, fmt.Errorf("malformed key %x of an alarm", row.Key)
	}
	if err := json.Unmarshal(row.Body, into); err != nil {
		return 0, id, fmt.Errorf("decode row of an alarm: %w", err)
	}
	return int64(binary.BigEndian.Uint64(row.Key)), ident.ID(row.Key[8:]), nil
}
