package transport

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
)

// sessions is the registry of this process's device sessions, at most one per device besides those that are over with one downlink.
type sessions struct {
	t    *Transport
	node string // names this process's response topic to the core

	mu       sync.Mutex
	byID     map[ident.ID]*session
	byDevice map[ident.DeviceID]*session
	// oldest and newest end the list of all sessions in the order they were last announced in.
	oldest, newest *session
	// stale are devices that changed while they have a session.
	stale map[ident.DeviceID]struct{}
	moved moved
}

// session implements Session.
type session struct {
	id        ident.ID
	device    *Device
	transport string
	downlinks Downlinks
	openedAt  int64 // ms since the epoch
	registry  *sessions
	once      bool // over with its first downlink; it is no connection of the device, and any number of them may be

	// The rest is guarded by sessions.mu.
	closed     bool
	rpc        bool // requests to the device are sent to it
	announced  time.Time
	prev, next *session
}

func newSessions(t *Transport, node string) *sessions {
	return &sessions{
		t: t, node: node,
		byID: map[ident.ID]*session{}, byDevice: map[ident.DeviceID]*session{}, stale: map[ident.DeviceID]struct{}{}, moved: newMoved(),
	}
}

// Open implements Sessions.
func (t *Transport) Open(ctx context.Context, d *Device, transport string, downlinks Downlinks) (Session, error) {
	now := time.Now()
	if !d.allowMessage(now) {
		return nil, ErrRateLimited
	}
	s := t.sessions.new(d, transport, downlinks)
	if err := t.sessions.openSession(ctx, s); err != nil {
		return nil, err
	}
	return s, nil
}

func (r *sessions) new(d *Device, transport string, downlinks Downlinks) *session {
	return &session{id: ident.New(), device: d, transport: transport, downlinks: downlinks, openedAt: time.Now().UnixMilli(), registry: r}
}

// openSession registers s and returns once the bus has its announcement.
func (r *sessions) openSession(ctx context.Context, s *session) error {
	acknowledged := make(chan error, 1)
	for {
		err := r.open(s, func(err error) { acknowledged <- err })
		if err == nil {
			break
		}
		if !errors.Is(err, bus.ErrFull) {
			return err
		}
		select {
		case <-r.t.bus.Room(topics.Core, s.device.ID.ID[:]):
		case <-ctx.Done():
			return fault.Wrap(fault.Unavailable, "open session", ctx.Err())
		}
	}
	select {
	case err := <-acknowledged:
		if err != nil {
			r.close(s, "failed")
			return busFault("open session", err)
		}
		return nil
	case <-ctx.Done():
		r.close(s, "failed")
		return fault.Wrap(fault.Unavailable, "open session", ctx.Err())
	}
}

// open announces s and registers it, both under the lock: the session that is registered last
// is then also the one the device's owner hears of last. The one before it is closed.
func (r *sessions) open(s *session, done func(error)) error {
	r.mu.Lock()
	var before *session
	if !s.once {
		before = r.byDevice[s.device.ID]
	}
	if before == nil && len(r.byID) >= r.t.config.Sessions {
		r.mu.Unlock()
		return fault.New(fault.Unavailable, "too many sessions")
	}
	if err := r.announce(s, false, done); err != nil {
		r.mu.Unlock()
		if errors.Is(err, bus.ErrFull) {
			return bus.ErrFull
		}
		return busFault("open session", err)
	}
	if before != nil {
		r.remove(before)
	}
	r.byID[s.id] = s
	if !s.once {
		r.byDevice[s.device.ID] = s
	}
	s.announced = time.Now()
	r.append(s)
	r.mu.Unlock()
	r.t.metrics.sessionsOpened.Inc()
	r.t.metrics.sessions.Inc()
	if before != nil {
		before.ended(sluicepb.CloseReason_TAKEN_OVER)
	}
	return nil
}

// announce tells the device's owner of s: that it is open, or (again) that it still is.
func (r *sessions) announce(s *session, again bool, done func(error)) error {
	message := coreMessage(s.device)
	message.Body = &sluicepb.CoreMessage_SessionOpened{SessionOpened: &sluicepb.SessionOpened{
		SessionId: s.id[:], TransportNode: r.node, OpenedAtMs: s.openedAt, Transport: s.transport, Again: again,
		Rpc: s.rpc, Once: s.once, Attributes: s.once && !s.rpc,
	}}
	return r.t.report(message, s.device, "opened", done)
}

// ID implements Session.
func (s *session) ID() ident.ID { return s.id }

// Active implements Session.
func (s *session) Active() { s.registry.t.activity.note(s.device, time.Now()) }

// SubscribeRPC implements Session.
func (s *session) SubscribeRPC(on bool) {
	r := s.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.closed || s.rpc == on {
		return
	}
	s.rpc = on
	message := coreMessage(s.device)
	message.Body = &sluicepb.CoreMessage_SessionSubscribed{SessionSubscribed: &sluicepb.SessionSubscribed{SessionId: s.id[:], Rpc: on}}
	if err := r.t.report(message, s.device, "subscribed", nil); err != nil {
		r.t.log.Debug("a subscription could not be reported", slog.Any("err", err))
	}
}

// Close implements Session.
func (s *session) Close() { s.registry.close(s, "transport") }

// ended tells the protocol, and the device's owner, that the platform ended s. s is no longer registered.
func (s *session) ended(reason sluicepb.CloseReason) {
	s.registry.forgotten(s, reason.String())
	s.downlinks.Close(reason)
}

// close unregisters s at the protocol's wish.
func (r *sessions) close(s *session, reason string) {
	r.mu.Lock()
	open := r.byID[s.id] == s
	if open {
		r.remove(s)
	}
	r.mu.Unlock()
	if open {
		r.forgotten(s, reason)
	}
}

// end ends s for the platform's reason; false when it was over already.
func (r *sessions) end(s *session, reason sluicepb.CloseReason) bool {
	r.mu.Lock()
	open := r.byID[s.id] == s
	if open {
		r.remove(s)
	}
	r.mu.Unlock()
	if open {
		s.ended(reason)
	}
	return open
}

// expire forgets a session whose one downlink came: the owner knows.
func (r *sessions) expire(s *session) {
	r.mu.Lock()
	open := r.byID[s.id] == s
	if open {
		r.remove(s)
	}
	r.mu.Unlock()
	if open {
		r.t.metrics.sessions.Dec()
		r.t.metrics.sessionsClosed.WithLabelValues("delivered").Inc()
	}
}

// closeDevice ends what a device has open here.
func (r *sessions) closeDevice(d ident.DeviceID, reason sluicepb.CloseReason) {
	for _, p := range r.t.polls.of(d) {
		r.end(p.session, reason)
	}
	if s := r.of(d); s != nil {
		r.end(s, reason)
	}
}

// of returns a device's open session, nil when it has none.
func (r *sessions) of(d ident.DeviceID) *session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byDevice[d]
}

// find returns an open session, nil when there is none of that id.
func (r *sessions) find(id ident.ID) *session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[id]
}

// forgotten tells the device's owner that s is over. Should the message be lost, the owner
// drops the session when it is not renewed.
func (r *sessions) forgotten(s *session, reason string) {
	r.t.metrics.sessions.Dec()
	r.t.metrics.sessionsClosed.WithLabelValues(reason).Inc()
	message := coreMessage(s.device)
	message.Body = &sluicepb.CoreMessage_SessionClosed{SessionClosed: &sluicepb.SessionClosed{
		SessionId: s.id[:], ClosedAtMs: time.Now().UnixMilli(),
	}}
	if err := r.t.report(message, s.device, "closed", nil); err != nil {
		r.t.log.Debug("a session's end could not be reported", slog.Any("err", err))
	}
}

// report publishes a message about d to its owner. done may be nil.
func (t *Transport) report(message *sluicepb.CoreMessage, d *Device, kind string, done func(error)) error {
	value, err := proto.Marshal(message)
	if err != nil {
		return fault.Wrap(fault.Internal, "encode session report", err)
	}
	return t.bus.Publish(bus.Message{Topic: topics.Core, Key: d.ID.ID[:], Value: value}, func(err error) {
		t.metrics.sessionReports.WithLabelValues(kind, result(err)).Inc()
		if done != nil {
			done(err)
		}
	})
}

// remove takes s out of the registry. Only under the lock, and once.
func (r *sessions) remove(s *session) {
	s.closed = true
	delete(r.byID, s.id)
	if r.byDevice[s.device.ID] == s {
		delete(r.byDevice, s.device.ID)
		delete(r.stale, s.device.ID)
	}
	r.unlink(s)
}

func (r *sessions) append(s *session) {
	s.prev, s.next = r.newest, nil
	if r.newest != nil {
		r.newest.next = s
	} else {
		r.oldest = s
	}
	r.newest = s
}

func (r *sessions) unlink(s *session) {
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		r.oldest = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		r.newest = s.prev
	}
	s.prev, s.next = nil, nil
}
