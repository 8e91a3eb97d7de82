package tryout

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// mostListed bounds what is listed of each kind of entity, and of an entity's alarms.
const mostListed = 1000

// stored is what there is of every entity, made by nodes too, that has anything.
func (r *run) stored(ctx context.Context) (map[string]Stored, error) {
	if err := r.discover(ctx); err != nil {
		return nil, fmt.Errorf("look what is stored: %w", err)
	}
	all := map[string]Stored{}
	for e, name := range r.names {
		s, err := r.storedOf(ctx, e)
		if err != nil {
			return nil, fmt.Errorf("look what is stored of %s: %w", name, err)
		}
		if s.Telemetry != nil || s.Attributes != nil || s.Alarms != nil {
			all[name] = s
		}
	}
	return all, nil
}

// discover names entities that nodes have made.
func (r *run) discover(ctx context.Context) error {
	page := entity.PageRequest{Size: mostListed}
	devices, err := r.entities.Devices.List(ctx, r.tenant, entity.DeviceFilter{}, page)
	if err != nil {
		return err
	}
	for _, d := range devices.Items {
		r.names[d.ID.Entity()] = d.Name
	}
	assets, err := r.entities.Assets.List(ctx, r.tenant, entity.AssetFilter{}, page)
	if err != nil {
		return err
	}
	for _, a := range assets.Items {
		r.names[a.Entity()] = a.Name
	}
	customers, err := r.entities.Customers.List(ctx, r.tenant, page)
	if err != nil {
		return err
	}
	for _, c := range customers.Items {
		r.names[c.ID.Entity()] = c.Title
	}
	return nil
}

func (r *run) storedOf(ctx context.Context, e ident.EntityID) (s Stored, err error) {
	s.Type = e.Type.String()
	latest, err := r.store.Latest(ctx, e, nil)
	if err != nil {
		return s, err
	}
	if s.Telemetry, err = objectOf(latest); err != nil {
		return s, err
	}
	for _, scope := range []storage.Scope{storage.Client, storage.Shared, storage.Server} {
		entries, err := r.store.Attributes(ctx, e, scope, nil)
		if err != nil {
			return s, err
		}
		held, err := objectOf(entries)
		if err != nil {
			return s, err
		}
		if held != nil {
			if s.Attributes == nil {
				s.Attributes = map[string]map[string]any{}
			}
			s.Attributes[telemetry.ScopeName(scope)] = held
		}
	}
	alarms, err := r.services.Alarms.List(ctx, alarm.Query{
		Scope: alarm.Scope{Tenant: r.tenant, Entity: e}, Size: mostListed, Ascending: true,
	})
	for _, a := range alarms.Items {
		s.Alarms = append(s.Alarms, Alarm{Type: a.Type, Severity: string(a.Severity), Status: string(a.Status()), Details: a.Details})
	}
	return s, err
}

// objectOf is entries as a JSON object's values; nil when there are none.
func objectOf(entries []storage.Entry) (object map[string]any, err error) {
	if len(entries) == 0 {
		return nil, nil
	}
	kvs := telemetry.AppendObject(nil, keyValues(entries))
	err = json.Unmarshal(kvs, &object)
	return object, err
}

func keyValues(entries []storage.Entry) []values.KeyValue {
	kvs := make([]values.KeyValue, len(entries))
	for i := range entries {
		kvs[i] = entries[i].KeyValue
	}
	return kvs
}
