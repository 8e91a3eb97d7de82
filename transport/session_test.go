package transport_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

// inbox notes what a session is told.
type inbox struct {
	mu      sync.Mutex
	updated []telemetry.KeyValue
	deleted []string
	closed  []sluicepb.CloseReason
}

func (i *inbox) RPC(transport.RPCRequest) {}

func (i *inbox) AttributesUpdated(updated []telemetry.KeyValue, deleted []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.updated, i.deleted = append(i.updated, updated...), append(i.deleted, deleted...)
}

func (i *inbox) Close(reason sluicepb.CloseReason) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = append(i.closed, reason)
}

func (i *inbox) expectClosed(t *testing.T, want ...sluicepb.CloseReason) {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	if !slices.Equal(i.closed, want) {
		t.Errorf("closed for %v, want %v", i.closed, want)
	}
}

func open(t *testing.T, r *transporttest.Rig, d *transport.Device) (transport.Session, *inbox) {
	t.Helper()
	in := &inbox{}
	s, err := r.Transport.Open(context.Background(), d, "MQTT", in)
	if err != nil {
		t.Fatal(err)
	}
	return s, in
}

// expectReports waits for the reports and compares their kinds and sessions.
func expectReports(t *testing.T, r *transporttest.Rig, want ...string) []*sluicepb.CoreMessage {
	t.Helper()
	reports := r.Reports(t, len(want))
	var got []string
	for _, m := range reports {
		switch body := m.GetBody().(type) {
		case *sluicepb.CoreMessage_SessionOpened:
			got = append(got, "opened "+string(body.SessionOpened.GetSessionId()))
		case *sluicepb.CoreMessage_SessionClosed:
			got = append(got, "closed "+string(body.SessionClosed.GetSessionId()))
		case *sluicepb.CoreMessage_Activity:
			got = append(got, "active "+string(body.Activity.GetSessionId()))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
	return reports
}

func opened(s transport.Session) string { id := s.ID(); return "opened " + string(id[:]) }
func closed(s transport.Session) string { id := s.ID(); return "closed " + string(id[:]) }
func active(s transport.Session) string { id := s.ID(); return "active " + string(id[:]) }

func TestSessionIsAnnouncedAndClosed(t *testing.T) {
	r := transporttest.Start(t, nil)
	device := r.Core.AddDevice("T")
	s, in := open(t, r, authenticate(t, r, token("T")))
	s.Close()
	s.Close()
	reports := expectReports(t, r, opened(s), closed(s))
	first := reports[0]
	if string(first.GetTenantId()) != string(device.Tenant.ID[:]) || string(first.GetEntity().GetId()) != string(device.ID.ID[:]) ||
		first.GetEntity().GetType() != sluicepb.EntityType_DEVICE {
		t.Errorf("report is about %+v", first)
	}
	if got := first.GetSessionOpened(); got.GetTransportNode() != "test" || got.GetTransport() != "MQTT" || got.GetOpenedAtMs() == 0 {
		t.Errorf("announced as %+v", got)
	}
	in.expectClosed(t) // the protocol closed it itself
}

func TestTheNewestSessionWins(t *testing.T) {
	r := transporttest.Start(t, nil)
	r.Core.AddDevice("T")
	r.Core.AddDevice("OTHER")
	d := authenticate(t, r, token("T"))
	other, otherIn := open(t, r, authenticate(t, r, token("OTHER")))
	first, firstIn := open(t, r, d)
	second, secondIn := open(t, r, d)
	firstIn.expectClosed(t, sluicepb.CloseReason_TAKEN_OVER)
	first.Close()
	secondIn.expectClosed(t)
	otherIn.expectClosed(t)
	// The owner hears of the new one first: the device is connected all the time.
	expectReports(t, r, opened(other), opened(first), opened(second), closed(first))
	second.Close()
	expectReports(t, r, opened(other), opened(first), opened(second), closed(first), closed(second))
}

func TestEntityEventsCloseSessions(t *testing.T) {
	for reason, announce := range map[sluicepb.CloseReason]func(*transporttest.Rig, *transporttest.Device){
		sluicepb.CloseReason_CREDENTIALS_CHANGED: func(r *transporttest.Rig, d *transporttest.Device) { r.Changed(t, d, false, true) },
		sluicepb.CloseReason_DEVICE_DELETED:      func(r *transporttest.Rig, d *transporttest.Device) { r.Changed(t, d, true, false) },
	} {
		synctest.Test(t, func(t *testing.T) {
			r := transporttest.Start(t, nil)
			device := r.Core.AddDevice("T")
			other := r.Core.AddDevice("OTHER")
			s, in := open(t, r, authenticate(t, r, token("T")))
			kept, keptIn := open(t, r, authenticate(t, r, token("OTHER")))
			synctest.Wait()
			r.Changed(t, other, false, false)
			announce(r, device)
			in.expectClosed(t, reason)
			keptIn.expectClosed(t)
			expectReports(t, r, opened(s), opened(kept), closed(s))
		})
	}
}

func TestDownlinksReachTheirSession(t *testing.T) {
	r := transporttest.Start(t, nil)
	r.Core.AddDevice("T")
	s, in := open(t, r, authenticate(t, r, token("T")))
	id := s.ID()
	values := []telemetry.KeyValue{{Key: "x", Value: telemetry.OfLong(1)}}
	for _, session := range [][]byte{id[:], make([]byte, 16), {1, 2}} {
		if err := r.Bus.Deliver(&sluicepb.DeviceDownlink{SessionId: session, Body: &sluicepb.DeviceDownlink_AttributesUpdated{
			AttributesUpdated: &sluicepb.AttributesUpdated{Updated: telemetry.ToProto(values), Deleted: []string{"y"}},
		}}); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(in.updated, values) || !slices.Equal(in.deleted, []string{"y"}) {
		t.Errorf("updated %v, deleted %v", in.updated, in.deleted)
	}
	end := &sluicepb.DeviceDownlink{SessionId: id[:], Body: &sluicepb.DeviceDownlink_CloseSession{
		CloseSession: &sluicepb.CloseSession{Reason: sluicepb.CloseReason_TAKEN_OVER},
	}}
	for range 2 {
		if err := r.Bus.Deliver(end); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Bus.Deliver(&sluicepb.DeviceDownlink{SessionId: id[:]}); err != nil { // of a later version
		t.Fatal(err)
	}
	in.expectClosed(t, sluicepb.CloseReason_TAKEN_OVER)
	expectReports(t, r, opened(s), closed(s))
}

func TestSessionsAreBounded(t *testing.T) {
	r := transporttest.Start(t, func(c *transport.Config) { c.Sessions = 1 })
	r.Core.AddDevice("A")
	r.Core.AddDevice("B")
	a, b := authenticate(t, r, token("A")), authenticate(t, r, token("B"))
	open(t, r, a)
	if _, err := r.Transport.Open(context.Background(), b, "MQTT", &inbox{}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a session too many: %v", err)
	}
	s, _ := open(t, r, a) // a takeover needs no further place
	s.Close()
	open(t, r, b)
}

func TestSessionsAreRateLimited(t *testing.T) {
	r := transporttest.Start(t, func(c *transport.Config) { c.DeviceLimits.Messages = "1:3600" })
	r.Core.AddDevice("T")
	d := authenticate(t, r, token("T"))
	open(t, r, d)
	if _, err := r.Transport.Open(context.Background(), d, "MQTT", &inbox{}); !errors.Is(err, transport.ErrRateLimited) {
		t.Errorf("open: %v", err)
	}
	if _, err := r.Transport.ReadAttributes(context.Background(), d, transport.AttributeQuery{}); !errors.Is(err, transport.ErrRateLimited) {
		t.Errorf("read: %v", err)
	}
}

// brokenCoreTopic fails what goes to the core.
type brokenCoreTopic struct {
	*transporttest.Bus
	err, later error
}

func (b *brokenCoreTopic) Publish(_ bus.Message, done func(error)) error {
	if b.err != nil {
		return b.err
	}
	go done(b.later)
	return nil
}

func TestASessionTheOwnerCannotHearOfIsNotOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core := transporttest.NewCore()
		b := &brokenCoreTopic{Bus: transporttest.NewBus(core)}
		defer b.Close()
		tr, err := transport.New(transporttest.Config(t), b, transport.Options{})
		if err != nil {
			t.Fatal(err)
		}
		core.AddDevice("T")
		d := authenticate(t, &transporttest.Rig{Transport: tr}, token("T"))
		for _, step := range []struct{ err, later error }{
			{nil, bus.ErrDeadline}, {bus.ErrClosed, nil}, {bus.ErrUnavailable, nil}, {bus.ErrFull, nil},
		} {
			b.err, b.later = step.err, step.later
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			if errors.Is(step.err, bus.ErrFull) {
				b.SetFull(true)
			}
			if _, err := tr.Open(ctx, d, "MQTT", &inbox{}); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("%v, %v: %v", step.err, step.later, err)
			}
			cancel()
		}
	})
}

func TestSessionsAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, nil)
		r.Core.AddDevice("A")
		r.Core.AddDevice("B")
		a, _ := open(t, r, authenticate(t, r, token("A")))
		time.Sleep(30 * time.Second)
		b, _ := open(t, r, authenticate(t, r, token("B")))
		time.Sleep(31 * time.Second)
		expectReports(t, r, opened(a), opened(b), opened(a))
		b.Close()
		time.Sleep(60 * time.Second)
		expectReports(t, r, opened(a), opened(b), opened(a), closed(b), opened(a))
		a.Close()
		time.Sleep(5 * time.Minute)
		expectReports(t, r, opened(a), opened(b), opened(a), closed(b), opened(a), closed(a))
	})
}

func TestActivityIsReportedOnceAPeriodAndOnlyWithoutUplinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, nil)
		r.Core.AddDevice("T")
		d := authenticate(t, r, token("T"))
		s, _ := open(t, r, d)
		for range 10 {
			s.Active()
		}
		last := time.Now().UnixMilli()
		time.Sleep(4 * time.Second)
		reports := expectReports(t, r, opened(s), active(s))
		if got := reports[1].GetActivity().GetLastActivityMs(); got != last {
			t.Errorf("active at %d, want %d", got, last)
		}
		mustPublish(t, r, d, `{"t":1}`)
		s.Active()
		time.Sleep(4 * time.Second)
		expectReports(t, r, opened(s), active(s))
		mustPublish(t, r, d, `{}`) // nothing to store, but a sign of life
		time.Sleep(4 * time.Second)
		expectReports(t, r, opened(s), active(s), active(s))
	})
}

// A device that is renamed while it is connected sends under its new name.
func TestSessionsFollowTheirDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, nil)
		device := r.Core.AddDevice("T")
		d := authenticate(t, r, token("T"))
		open(t, r, d)
		synctest.Wait()
		r.Core.Change(func() { device.Name = "renamed" })
		r.Changed(t, device, false, false)
		time.Sleep(2 * time.Second)
		mustPublish(t, r, d, `{"t":1}`)
		if got := r.Uplinks(t, 1)[0].DeviceName; got != "renamed" {
			t.Errorf("uplink of %q", got)
		}
	})
}

func TestReadAttributes(t *testing.T) {
	r := transporttest.Start(t, nil)
	device := r.Core.AddDevice("T")
	a := telemetry.KeyValue{Key: "a", Value: telemetry.OfDouble(1.5)}
	b := telemetry.KeyValue{Key: "b", Value: telemetry.OfBool(true)}
	r.Core.Change(func() { device.Client, device.Shared = []telemetry.KeyValue{a, b}, []telemetry.KeyValue{b} })
	d := authenticate(t, r, token("T"))
	for _, c := range []struct {
		query transport.AttributeQuery
		want  transport.Attributes
	}{
		{transport.AttributeQuery{}, transport.Attributes{}},
		{transport.AttributeQuery{AllClient: true}, transport.Attributes{Client: []telemetry.KeyValue{a, b}}},
		{transport.AttributeQuery{ClientKeys: []string{"a", "x"}, SharedKeys: []string{"a"}}, transport.Attributes{Client: []telemetry.KeyValue{a}}},
		{transport.AttributeQuery{AllShared: true}, transport.Attributes{Shared: []telemetry.KeyValue{b}}},
	} {
		got, err := r.Transport.ReadAttributes(context.Background(), d, c.query)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Client, c.want.Client) || !slices.Equal(got.Shared, c.want.Shared) {
			t.Errorf("%+v: %+v, want %+v", c.query, got, c.want)
		}
	}
	r.Core.Fail(fault.New(fault.Unavailable, "store is away"))
	if _, err := r.Transport.ReadAttributes(context.Background(), d, transport.AttributeQuery{AllClient: true}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("while the store is away: %v", err)
	}
}
