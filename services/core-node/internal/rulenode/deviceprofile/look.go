package deviceprofile

import (
	"context"
	"errors"
	"fmt"

	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/subject"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// look returns what the rules see: what is stored, and over it what in brings. nil if in brings nothing rules look at.
func (n *node) look(ctx context.Context, in *rule.Message, r *rules) (*snapshot, error) {
	s := &snapshot{
		services: n.services, device: in.Originator, at: in.Timestamp(), known: map[key]values.Value{}, changed: map[key]struct{}{},
	}
	kind := attribute
	switch in.Type {
	case rule.PostTelemetry:
		kind = series
	case rule.PostAttributes, rule.AttributesUpdated, rule.ActivityEvent, rule.InactivityEvent, rule.ConnectEvent, rule.DisconnectEvent:
	default:
		return nil, nil //nolint:nilnil // documented
	}
	kvs, typed := in.Body.Typed()
	if !typed {
		var err error
		if kvs, err = telemetry.ParseObject(in.Body.Text()); errors.Is(err, telemetry.ErrNotObject) {
			return nil, nil //nolint:nilnil,nilerr // such a message brings no values
		}
	}
	if err := s.stored(ctx, r); err != nil {
		return nil, err
	}
	for _, kv := range kvs {
		k := key{kind, kv.Key}
		s.known[k], s.changed[k] = kv.Value, struct{}{}
	}
	return s, nil
}

// stored reads what rules look at; of attributes those of the server come before shared ones, and those before the device's own.
func (s *snapshot) stored(ctx context.Context, r *rules) error {
	if len(r.series) > 0 {
		entries, err := s.services.Values.Latest(ctx, s.device, r.series)
		if err != nil {
			return fmt.Errorf("read latest values: %w", err)
		}
		for _, e := range entries {
			s.known[key{series, e.Key}] = e.Value
		}
	}
	if len(r.attributes) > 0 {
		for _, scope := range []storage.Scope{storage.Client, storage.Shared, storage.Server} {
			entries, err := s.services.Values.Attributes(ctx, s.device, scope, r.attributes)
			if err != nil {
				return fmt.Errorf("read attributes: %w", err)
			}
			for _, e := range entries {
				s.known[key{attribute, e.Key}] = e.Value
			}
		}
	}
	if !r.fields {
		return nil
	}
	view, err := subject.View(ctx, s.services, s.device)
	if err != nil {
		return err
	}
	for _, m := range view.Members() {
		if v, ok := constant([]byte(m.Value)); ok {
			s.known[key{field, m.Name}] = v
		}
	}
	return nil
}
