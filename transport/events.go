package transport

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
)

// events is what this process heard on tb.events.
type events struct {
	heard     atomic.Uint64 // number of the last event
	unmatched atomic.Uint64 // number of the last one about a device unknown here
	everyone  atomic.Uint64 // number of the last one that concerned devices of whom nobody here knows which
	missed    atomic.Uint64 // number up to which events may have been missed
	followed  atomic.Bool   // whether the topic is being read
}

// retryEvents bounds the wait before tb.events is read again after an error.
const retryEvents = 5 * time.Second

// deafAfter is how long nothing may be heard of tb.events until what changes may go unheard: the
// time within which a revoked credential is to be refused everywhere.
const deafAfter = time.Second

// deaf reports whether the core may have announced a change that has not come here.
func (t *Transport) deaf() bool {
	return !t.events.followed.Load() || t.bus.Silence(topics.Events) >= deafAfter
}

// followEvents reads tb.events until ctx ends. While it cannot, verdicts are believed for a moment only.
func (t *Transport) followEvents(ctx context.Context) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, retryEvents) {
		err := t.followOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		t.log.Warn("reading entity events stopped; trying again", slog.Any("err", err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait/2 + rand.N(wait/2)):
		}
	}
}

func (t *Transport) followOnce(ctx context.Context) error {
	ready := make(chan struct{})
	stopped := make(chan struct{})
	watched := make(chan struct{})
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		defer close(watched)
		select {
		case <-ready:
			// What was remembered before may have changed unheard.
			again := t.events.missed.Swap(t.events.heard.Add(1)) != 0
			t.events.followed.Store(true)
			if again {
				t.sessions.moved.note(nil)
			}
			t.readHistory(ctx)
		case <-stopped:
		}
	}()
	err := t.bus.Tail(ctx, topics.Events, ready, func(r bus.Record) {
		if !t.history.hear(r) {
			stop(errWentBack)
		}
		t.onEvent(r)
	})
	stop(nil)
	close(stopped)
	<-watched
	t.events.followed.Store(false)
	t.history.forget()
	return err
}

// onEvent drops what the event outdates and closes the sessions it ends.
func (t *Transport) onEvent(r bus.Record) {
	t.metrics.events.Inc()
	var e sluicepb.EntityEvent
	if err := proto.Unmarshal(r.Value, &e); err != nil {
		t.log.Warn("an entity event cannot be read", slog.Int64("offset", r.Offset), slog.Any("err", err))
		return
	}
	if o := e.GetOwner(); o != nil {
		t.sessions.moved.note(o)
		return
	}
	id, err := ident.FromBytes(e.GetEntity().GetId())
	if err != nil {
		return
	}
	if e.GetEntity().GetType() != ident.Device {
		t.onGroup(e.GetEntity().GetType(), id)
		return
	}
	device := ident.DeviceID{ID: id}
	number := t.events.heard.Add(1)
	if state := t.devices.find(device); state != nil {
		state.changed.Store(number)
	} else {
		t.events.unmatched.Store(number)
	}
	for _, token := range e.GetCredentialsIds() {
		t.credentials.rename(Credentials{Token: token})
	}
	switch {
	case e.GetDeleted():
		t.sessions.closeDevice(device, sluicepb.CloseReason_DEVICE_DELETED)
	case e.GetCredentialsChanged():
		t.sessions.closeDevice(device, sluicepb.CloseReason_CREDENTIALS_CHANGED)
	default:
		t.sessions.refresh(device)
	}
}

// onGroup outdates what is known of the devices of a profile or tenant. What else a verdict depends on is read again when it ages.
func (t *Transport) onGroup(kind sluicepb.EntityType, id ident.ID) {
	concerns := func(*Device) bool { return true }
	switch kind {
	case ident.DeviceProfile:
		number := t.events.heard.Add(1)
		t.events.unmatched.Store(number) // an answer under way may be of it
		p := t.profiles.find(id)
		if p == nil {
			return
		}
		p.changed.Store(number)
		concerns = func(d *Device) bool { return d.state.profile.Load() == p }
	case ident.Tenant:
		number := t.events.heard.Add(1)
		t.events.unmatched.Store(number)
		tenant := t.tenants.find(ident.TenantID{ID: id})
		if tenant == nil {
			return
		}
		tenant.changed.Store(number)
		concerns = func(d *Device) bool { return d.state.tenant == tenant }
	case ident.TenantProfile: // which tenants have it is not known here
		number := t.events.heard.Add(1)
		t.events.unmatched.Store(number)
		t.events.everyone.Store(number)
	default:
		return
	}
	t.sessions.refreshAll(concerns)
}
