// Package observe keeps the relations of devices that observe their attributes, or the requests to them (RFC 7641): which there
// are, what is still to be told, and whether the device is still there. A relation lasts for as long as its client answers.
package observe

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
	"github.com/sluice-iot/sluice/transport"
)

// Kind is what is observed; a device has one relation of each.
type Kind uint8

// The kinds.
const (
	Attributes Kind = iota
	Requests
	kinds
)

// Wire sends notifications: the exchange table.
type Wire interface {
	Notify(now time.Duration, n exchange.Notice) (waits bool)
	Forget(to exchange.Endpoint, id uint16)
}

// Platform is what relations need of the platform.
type Platform interface {
	transport.Sessions
	transport.Formats
	ReportRPC(d *transport.Device, session ident.ID, r transport.RPCRequest, stage sluicepb.RpcStage)
}

// Limits bound relations.
type Limits struct {
	// Devices is how many may have relations; the next is answered 5.03.
	Devices int
	// Requests is how many requests to a device may wait to be sent; the next is reported as unsent. Keys is how many
	// changed or deleted attributes may; more are left out.
	Requests, Keys int
	// Probe is how long nothing may be heard of a device until it is asked whether it is there.
	Probe time.Duration
}

// Counts are what relations count; its methods must be safe for concurrent use and must not block.
type Counts interface {
	// Observers: there are by so many relations more.
	Observers(by int)
	// Notified: a notification was sent.
	Notified()
	// ObserverLost: a relation ended because its client rejected, or did not acknowledge, a message.
	ObserverLost()
	// Unsaid: what was to be told was left out, because too much waited.
	Unsaid()
}

// Bodies keeps what goes in several blocks.
type Bodies interface {
	Keep(to exchange.Endpoint, digest uint64, body []byte)
}

// Options are what relations work with.
type Options struct {
	Limits   Limits
	Wire     Wire
	Platform Platform
	Bodies   Bodies
	Counts   Counts
	Now      func() time.Duration
}

// Target is who observes, and how it wants to be told.
type Target struct {
	Endpoint    exchange.Endpoint
	Token       string
	Confirmable bool
	Format      uint32 // of notifications
	// BlockExponent is the size of block that notifications are cut to; Digest names the resource to Bodies.
	BlockExponent uint8
	Digest        uint64
}

func (t Target) same(o Target) bool { return t.Endpoint == o.Endpoint && t.Token == o.Token }

// Relations are those of all devices. Safe for concurrent use.
type Relations struct {
	Options
	any atomic.Int64 // devices in it, to pass by quickly when there is none

	mu       sync.Mutex
	byDevice map[ident.DeviceID]*device
}

// New returns Relations without any.
func New(o Options) *Relations { return &Relations{Options: o, byDevice: map[ident.DeviceID]*device{}} }

var (
	errMany  = fault.New(fault.Unavailable, "too many devices observe")
	errEnded = fault.New(fault.Unavailable, "the session was closed meanwhile")
)

// Registration is a relation whose first answer is due.
type Registration struct {
	d *device
	r *relation
	// Sequence is the Observe value of the first answer.
	Sequence uint32
}

// Begin makes, or refreshes, d's relation of a kind, opening d's session if it has none. The caller reads what the first answer
// says, sends it, and calls Start or Fail. Errors are transport.Sessions'.
func (r *Relations) Begin(ctx context.Context, d *transport.Device, k Kind, t Target) (*Registration, error) {
	for again := false; ; again = true {
		one, err := r.open(ctx, d)
		if err != nil {
			return nil, err
		}
		g, err := one.begin(k, t)
		if again || !errors.Is(err, errEnded) {
			return g, err
		}
		r.remove(one) // its last relation ended just now, which has nothing to do with this one
	}
}

// open finds d among those that observe, or opens a session for it. Whoever comes meanwhile waits.
func (r *Relations) open(ctx context.Context, d *transport.Device) (*device, error) {
	r.mu.Lock()
	one := r.byDevice[d.ID]
	if one == nil {
		if len(r.byDevice) >= r.Limits.Devices {
			r.mu.Unlock()
			return nil, errMany
		}
		one = newDevice(r, d)
		r.byDevice[d.ID] = one
		r.any.Add(1)
		r.mu.Unlock()
		session, err := r.Platform.Open(ctx, d, "COAP", one)
		if err != nil {
			r.remove(one)
		}
		one.opened(session, err)
		return one, err
	}
	r.mu.Unlock()
	select {
	case <-one.ready:
		return one, one.failure
	case <-ctx.Done():
		return nil, fault.Wrap(fault.Unavailable, "wait for the session to open", ctx.Err())
	}
}

// End ends d's relation of a kind if it is t's, at the device's wish.
func (r *Relations) End(d ident.DeviceID, k Kind, t Target) {
	if one := r.find(d); one != nil {
		one.cancel(k, t)
	}
}

// Uplink notes that a device was heard of: it is awake, and reachable where its relations are if that is where it sent from.
func (r *Relations) Uplink(d ident.DeviceID, from exchange.Endpoint) {
	if r.any.Load() == 0 {
		return
	}
	if one := r.find(d); one != nil {
		one.heard(from)
	}
}

// Close closes the sessions of all relations without a word to the devices, which find out when they are probed or register again.
func (r *Relations) Close() {
	r.mu.Lock()
	all := make([]*device, 0, len(r.byDevice))
	for _, one := range r.byDevice {
		all = append(all, one)
	}
	r.mu.Unlock()
	for _, one := range all {
		one.close(nil)
	}
}

func (r *Relations) find(d ident.DeviceID) *device {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byDevice[d]
}

func (r *Relations) remove(one *device) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byDevice[one.id] == one {
		delete(r.byDevice, one.id)
		r.any.Add(-1)
	}
}
