package relation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Settings are what operators set of relations.
type Settings struct {
	Found    int `name:"core-relations-found" help:"Most relations one request may find; more is refused." default:"10000"`
	MaxLevel int `name:"core-relation-levels" help:"Most levels a search goes from its root." default:"50"`
}

// DefaultSettings are the settings nobody changed.
func DefaultSettings() Settings { return Settings{Found: 10_000, MaxLevel: 50} }

// Registry keeps relations. Whether their ends exist, and who may touch them, is the caller's to
// know. Errors carry a fault.Kind where they are the caller's fault. Safe for concurrent use.
type Registry struct {
	rows     storage.Rows
	settings Settings
}

// New returns the relations kept in rows.
func New(rows storage.Rows, s Settings) *Registry { return &Registry{rows: rows, settings: s} }

// stored is the body of a row at the from side; rows at the to side have none.
type stored struct {
	Info    json.RawMessage `json:"info,omitempty"`
	Version int64           `json:"version"`
}

const (
	fromSide = "from"
	toSide   = "to"
)

// Save stores a relation, in place of the one of that key, and returns it with its new version. The version given plays no part.
func (r *Registry) Save(ctx context.Context, tenant ident.TenantID, rel Relation) (Relation, error) {
	if err := rel.complete(); err != nil {
		return Relation{}, err
	}
	old, err := r.Get(ctx, tenant, rel.Key)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return Relation{}, err
	}
	rel.Version = old.Version + 1
	body, err := json.Marshal(stored{rel.AdditionalInfo, rel.Version})
	if err != nil {
		return Relation{}, fault.Wrap(fault.Invalid, "additionalInfo: is not valid JSON", err)
	}
	if err := r.pointTo(ctx, tenant, rel.Key); err != nil {
		return Relation{}, err
	}
	row := storage.Row{Key: rowKey(rel.Group, rel.Type, rel.To), Body: body}
	if err := r.rows.ChangeRows(ctx, rowGroup(fromSide, tenant, rel.From), []storage.Row{row}, nil, 0); err != nil {
		return Relation{}, fmt.Errorf("save relation: %w", err)
	}
	return rel, r.settle(ctx, tenant, rel.Key)
}

// pointTo writes the row of the to side.
func (r *Registry) pointTo(ctx context.Context, tenant ident.TenantID, k Key) error {
	row := storage.Row{Key: rowKey(k.Group, k.Type, k.From)}
	if err := r.rows.ChangeRows(ctx, rowGroup(toSide, tenant, k.To), []storage.Row{row}, nil, 0); err != nil {
		return fmt.Errorf("save relation: %w", err)
	}
	return nil
}

// settle makes sure, after a change, that what is there can be found from its to side: somebody may have removed
// that row meanwhile, on the word of the relation that was there before.
func (r *Registry) settle(ctx context.Context, tenant ident.TenantID, k Key) error {
	if _, err := r.Get(ctx, tenant, k); errors.Is(err, storage.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	_, found, err := r.row(ctx, rowGroup(toSide, tenant, k.To), rowKey(k.Group, k.Type, k.From))
	if err != nil || found {
		return err
	}
	return r.pointTo(ctx, tenant, k)
}

func (r *Registry) row(ctx context.Context, group string, key []byte) (body []byte, found bool, err error) {
	for row, err := range r.rows.ScanRows(ctx, group, key, append(key[:len(key):len(key)], 0), false) {
		if err != nil {
			return nil, false, fmt.Errorf("read relation: %w", err)
		}
		return row.Body, true, nil
	}
	return nil, false, nil
}

// Get returns a relation; storage.ErrNotFound (fault.NotFound) when there is none.
func (r *Registry) Get(ctx context.Context, tenant ident.TenantID, k Key) (Relation, error) {
	if err := k.complete(); err != nil {
		return Relation{}, err
	}
	body, found, err := r.row(ctx, rowGroup(fromSide, tenant, k.From), rowKey(k.Group, k.Type, k.To))
	if err != nil {
		return Relation{}, err
	}
	if !found {
		return Relation{}, fault.Wrap(fault.NotFound, "Requested item wasn't found!", storage.ErrNotFound)
	}
	return decode(k, body)
}

func decode(k Key, body []byte) (Relation, error) {
	var s stored
	if err := json.Unmarshal(body, &s); err != nil {
		return Relation{}, fmt.Errorf("decode relation: %w", err)
	}
	return Relation{Key: k, AdditionalInfo: s.Info, Version: s.Version}, nil
}

// Delete removes a relation and returns what it was; storage.ErrNotFound when there is none.
func (r *Registry) Delete(ctx context.Context, tenant ident.TenantID, k Key) (Relation, error) {
	old, err := r.Get(ctx, tenant, k)
	if err != nil {
		return Relation{}, err
	}
	k = old.Key
	if err := r.rows.ChangeRows(ctx, rowGroup(fromSide, tenant, k.From), nil, [][]byte{rowKey(k.Group, k.Type, k.To)}, 0); err != nil {
		return Relation{}, fmt.Errorf("delete relation: %w", err)
	}
	if err := r.rows.ChangeRows(ctx, rowGroup(toSide, tenant, k.To), nil, [][]byte{rowKey(k.Group, k.Type, k.From)}, 0); err != nil {
		return Relation{}, fmt.Errorf("delete relation: %w", err)
	}
	return old, r.settle(ctx, tenant, k)
}

// From returns the relations that start at e: those of a group ("" is Common) and, unless it is "", of a type.
func (r *Registry) From(ctx context.Context, tenant ident.TenantID, e ident.EntityID, kind, group string) ([]Relation, error) {
	return r.find(ctx, tenant, e, fromSide, scope{Group(group), kind})
}

// To returns the relations that end at e, as From does.
func (r *Registry) To(ctx context.Context, tenant ident.TenantID, e ident.EntityID, kind, group string) ([]Relation, error) {
	return r.find(ctx, tenant, e, toSide, scope{Group(group), kind})
}

// scope narrows a search; empty fields do not.
type scope struct{ group, kind string }

func (s scope) bounds() (from, to []byte) {
	if s.group == "" {
		return nil, nil
	}
	from = append([]byte(s.group), 0)
	if s.kind != "" {
		from = append(append(from, s.kind...), 0)
	}
	return from, after(from)
}

func (r *Registry) find(ctx context.Context, tenant ident.TenantID, e ident.EntityID, side string, s scope) ([]Relation, error) {
	from, to := s.bounds()
	found := []Relation{}
	for row, err := range r.rows.ScanRows(ctx, rowGroup(side, tenant, e), from, to, false) {
		if err != nil {
			return nil, fmt.Errorf("find relations: %w", err)
		}
		group, kind, other, err := readKey(row.Key)
		if err != nil {
			return nil, err
		}
		k := Key{From: e, To: other, Type: kind, Group: group}
		if side == toSide {
			k.From, k.To = other, e
			one, err := r.Get(ctx, tenant, k)
			if errors.Is(err, storage.ErrNotFound) {
				continue // what a kill left
			}
			if err != nil {
				return nil, err
			}
			found = append(found, one)
		} else {
			one, err := decode(k, row.Body)
			if err != nil {
				return nil, err
			}
			found = append(found, one)
		}
		if len(found) > r.settings.Found {
			return nil, tooMany(r.settings.Found)
		}
	}
	return found, nil
}

func tooMany(limit int) error {
	return fault.New(fault.Invalid, fmt.Sprintf("More than %d relations: ask for fewer levels or one type", limit))
}

// DeleteAll removes the relations that start or end at e, of one group or, for "", of all, and returns how many there were.
func (r *Registry) DeleteAll(ctx context.Context, tenant ident.TenantID, e ident.EntityID, group string) (int, error) {
	s := scope{group: group}
	n := 0
	for _, side := range []string{fromSide, toSide} {
		for {
			keys, err := r.some(ctx, tenant, e, side, s)
			if err != nil {
				return n, err
			}
			for _, k := range keys {
				if _, err := r.Delete(ctx, tenant, k); errors.Is(err, storage.ErrNotFound) {
					err = r.forget(ctx, tenant, k)
					if err != nil {
						return n, err
					}
				} else if err != nil {
					return n, err
				} else {
					n++
				}
			}
			if len(keys) < deletedAtOnce {
				break
			}
		}
	}
	return n, nil
}

// deletedAtOnce is how many relations are held in memory by DeleteAll.
const deletedAtOnce = 1000

// some returns the first keys found at a side, of relations that may be gone.
func (r *Registry) some(ctx context.Context, tenant ident.TenantID, e ident.EntityID, side string, s scope) ([]Key, error) {
	from, to := s.bounds()
	var keys []Key
	for row, err := range r.rows.ScanRows(ctx, rowGroup(side, tenant, e), from, to, false) {
		if err != nil {
			return nil, fmt.Errorf("find relations: %w", err)
		}
		group, kind, other, err := readKey(row.Key)
		if err != nil {
			return nil, err
		}
		k := Key{From: e, To: other, Type: kind, Group: group}
		if side == toSide {
			k.From, k.To = other, e
		}
		if keys = append(keys, k); len(keys) == deletedAtOnce {
			break
		}
	}
	return keys, nil
}

// forget removes the row at the to side of a relation that is not there.
func (r *Registry) forget(ctx context.Context, tenant ident.TenantID, k Key) error {
	err := r.rows.ChangeRows(ctx, rowGroup(toSide, tenant, k.To), nil, [][]byte{rowKey(k.Group, k.Type, k.From)}, 0)
	if err != nil {
		return fmt.Errorf("delete relation: %w", err)
	}
	return r.settle(ctx, tenant, k)
}

// EntityDeleted removes all relations of an entity that is going away.
func (r *Registry) EntityDeleted(ctx context.Context, tenant ident.TenantID, e ident.EntityID) error {
	if e.Type == ident.Tenant {
		tenant = ident.TenantID{ID: e.ID}
	}
	_, err := r.DeleteAll(ctx, tenant, e, "")
	return err
}
