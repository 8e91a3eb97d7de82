package corenode

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
)

// retryEvents bounds the wait before tb.events is read again after an error.
const retryEvents = 5 * time.Second

// followEvents drops what this node holds of entities that changed, and tells new owners of its watches, until ctx
// ends. Whenever it begins to read the topic, events before that were missed: everything that was remembered is dropped.
func (s *Service) followEvents(ctx context.Context) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, retryEvents) {
		err := s.followOnce(ctx)
		if ctx.Err() != nil {
			return nil
		}
		s.env.Log.Warn("reading entity events stopped; trying again", "err", err)
		s.forgetAll()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait/2 + rand.N(wait/2)):
		}
	}
}

func (s *Service) followOnce(ctx context.Context) error {
	ready, ended := make(chan struct{}), make(chan struct{})
	begun := make(chan struct{})
	go func() {
		defer close(begun)
		select {
		case <-ready:
			s.forgetAll()
		case <-ended:
		}
	}()
	err := s.bus.Tail(ctx, topics.Events, ready, func(r bus.Record) { s.heard(ctx, r) })
	close(ended)
	<-begun
	if err != nil {
		return fmt.Errorf("follow entity events: %w", err)
	}
	return nil
}

// heard applies one event.
func (s *Service) heard(ctx context.Context, r bus.Record) {
	var event sluicepb.EntityEvent
	if err := proto.Unmarshal(r.Value, &event); err != nil {
		s.env.Log.Warn("entity event that cannot be read", "err", err)
		return
	}
	if owner := event.GetOwner(); owner != nil {
		s.watches.Owner(owner)
		return
	}
	if err := s.entities.Observe(ctx, &event); err != nil {
		s.env.Log.Warn("entity event not applied", "err", err)
	}
	tenant, _ := ident.FromBytes(event.GetTenantId()) // Observe has refused what is no id
	id, _ := ident.FromBytes(event.GetEntity().GetId())
	s.changed(ident.TenantID{ID: tenant}, ident.EntityID{Type: event.GetEntity().GetType(), ID: id})
}

func (s *Service) changed(tenant ident.TenantID, e ident.EntityID) {
	switch e.Type {
	case ident.User:
		s.accounts.Forget(e.ID)
	case ident.RuleChain, ident.DeviceProfile:
		s.chains.Forget(tenant)
		s.packages.Look()
	case ident.Tenant: // it names its root chain
		s.chains.Forget(ident.TenantID{ID: e.ID})
	case ident.Device:
		s.ingest.Changed(tenant, ident.DeviceID{ID: e.ID})
	}
}

// forgetAll drops everything that an event might have outdated.
func (s *Service) forgetAll() {
	s.entities.Forget()
	s.chains.ForgetAll()
	s.accounts.ForgetAll()
	s.watches.Renew()
}
