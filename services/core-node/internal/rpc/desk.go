package rpc

import (
	"cmp"
	"slices"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/state"
)

// Effects is what a Desk causes.
type Effects interface {
	// Reachable returns the sessions of a device that take requests now, its connection first. Those that wait for a single
	// downlink are over with that.
	Reachable(ident.DeviceID) []state.Session
	// Send gives a request to a session. call, if there is one, is answered with success once the bus has it.
	Send(to state.Session, device ident.DeviceID, r *sluicepb.RpcRequest, call *bus.Record)
	// Close ends a device's session because the device does not acknowledge.
	Close(session ident.ID, device ident.DeviceID)
	// Answer tells a caller, after everything that was caused so far is durable.
	Answer(call bus.Record, o Outcome)
	// Count notes what became of a request.
	Count(fate string)
}

// Fates of requests that are not persistent, as they are counted; those of persistent ones are their statuses.
const (
	FateAnswered  = "answered"
	FateSent      = "sent" // one-way
	FateExpired   = "expired"
	FateRefused   = "refused"
	FateAbandoned = "abandoned" // the device is gone, or its session could not write it
)

// Desk keeps the requests to the devices of one partition. It belongs to one goroutine, and keeps no time of its own:
// Tick is to be called when Due has come.
type Desk struct {
	settings Settings
	effects  Effects
	now      func() time.Time
	devices  map[ident.DeviceID]*device
	alarms   alarms
	changes  []Change
	pending  int
	durable  int // persistent ones that have not ended, in memory or not
	bytes    int64
}

// device is the requests of one, in the order they were asked for.
type device struct {
	id       ident.DeviceID
	tenant   ident.TenantID
	next     int32
	requests []*request
	pending  int
	durable  int
	// loaded: the persistent ones are here; kept are the ids of those that ended, the oldest first.
	loaded bool
	kept   []ident.ID
	alarm  alarm // while it is not loaded, when the first of its persistent ones expires
}

// request is one that has not ended.
type request struct {
	Record
	at    *device
	alarm alarm
	// call is of who waits for the outcome outside, then who does in the rule chain.
	call *bus.Record
	then func(Outcome)
	// asked: a rule chain has asked for it; until then it is only expected. stored: it is durable, or need not be.
	asked, stored bool
	over          bool     // it has ended
	sent          bool     // to any session, ever
	to            ident.ID // the session it was sent to last, which has not delivered it
	delivered     bool
	attempts      int   // not acknowledged by the session it was sent to last
	silent        int64 // when the session it was sent to is taken for dead
	pause         int64 // it is not sent again before
}

// Change is something that happened to a persistent request, on its way into the store.
type Change struct {
	Record Record
	// New: it was not there before; Prune are ended ones that go to make room.
	New   bool
	Prune []ident.ID

	request *request
}

// NewDesk returns a desk without requests.
func NewDesk(s Settings, effects Effects, now func() time.Time) *Desk {
	return &Desk{settings: s, effects: effects, now: now, devices: map[ident.DeviceID]*device{}}
}

// Pending is how many requests wait that are not persistent.
func (k *Desk) Pending() int { return k.pending }

// Durable is how many persistent requests have not ended.
func (k *Desk) Durable() int { return k.durable }

func (k *Desk) millis() int64 { return k.now().UnixMilli() }

// device returns the requests of a device. At the bound the count of one that has none begins anew.
func (k *Desk) device(tenant ident.TenantID, id ident.DeviceID) *device {
	d := k.devices[id]
	if d != nil {
		return d
	}
	if len(k.devices) >= k.settings.Devices {
		for other, o := range k.devices {
			if len(o.requests) == 0 && o.durable == 0 {
				delete(k.devices, other)
				break
			}
		}
	}
	d = &device{id: id, tenant: tenant}
	d.alarm.device = d
	k.devices[id] = d
	return d
}

func (d *device) find(id ident.ID) *request {
	for _, r := range d.requests {
		if r.ID == id {
			return r
		}
	}
	return nil
}

func (d *device) numbered(number int32) *request {
	for _, r := range d.requests {
		if r.asked && r.Number == number {
			return r
		}
	}
	return nil
}

// grace is how long a caller waits, after its request has expired, for a rule chain that does not ask.
const grace = time.Second

// Expect takes a caller's request on, before its rule chain asks for it. Errors are fault.Limited or fault.Invalid.
func (k *Desk) Expect(r Record, call bus.Record) error {
	d := k.device(r.Tenant, r.Device)
	if known := d.find(r.ID); known != nil {
		if known.Persistent && known.stored { // its caller's message came a second time
			k.effects.Answer(call, known.taken())
			return nil
		}
		return fault.New(fault.Invalid, "requestUUID: a request of this id is pending")
	}
	if err := k.room(d, &r); err != nil {
		return err
	}
	one := k.enter(d, r)
	one.call = &call
	k.wake(one, r.Expires+grace.Milliseconds())
	return nil
}

// room refuses r when one of the bounds is reached.
func (k *Desk) room(d *device, r *Record) error {
	s := k.settings
	err := func() error {
		switch size := r.bytes(); {
		case size-512 > int64(s.Bytes):
			return fault.New(fault.Invalid, "the request is larger than "+itoa(s.Bytes)+" bytes")
		case k.bytes+size > s.PendingBytes:
			return refuse("too many requests to devices are pending")
		case r.Persistent && d.durable >= s.Persistent:
			return refuse("%d persistent requests to the device have not ended", d.durable)
		case r.Persistent && k.durable >= s.PersistentPartition:
			return refuse("too many persistent requests to devices have not ended")
		case !r.Persistent && d.pending >= s.Pending:
			return refuse("%d requests to the device are pending", d.pending)
		case !r.Persistent && k.pending >= s.PendingPartition:
			return refuse("too many requests to devices are pending")
		}
		return nil
	}()
	if err != nil {
		k.effects.Count(FateRefused)
	}
	return err
}

func (k *Desk) enter(d *device, r Record) *request {
	one := &request{Record: r, at: d}
	one.alarm.request = one
	d.requests = append(d.requests, one)
	k.tally(one, 1)
	return one
}

// tally counts one in, or out.
func (k *Desk) tally(r *request, n int) {
	k.bytes += int64(n) * r.bytes()
	if r.Persistent {
		k.durable += n
		r.at.durable += n
		return
	}
	k.pending += n
	r.at.pending += n
}

// leave ends r.
func (k *Desk) leave(r *request) {
	k.sleep(r)
	r.over = true
	d := r.at
	d.requests = slices.DeleteFunc(d.requests, func(o *request) bool { return o == r })
	k.tally(r, -1)
}

// Ask sends a request for a rule chain, now or once the device can be reached. The outcome is what is known at once; nil, then is
// called with it later. A request that is asked for already is left as it is, and then is never called. The device's
// persistent requests must have been loaded if r is one. Errors are fault.Limited, fault.Invalid or ErrExpired.
func (k *Desk) Ask(r Record, then func(Outcome)) (*Outcome, error) {
	d := k.device(r.Tenant, r.Device)
	one := d.find(r.ID)
	switch {
	case one != nil && one.asked && one.Persistent:
		now := one.taken()
		return &now, nil
	case one != nil && one.asked:
		return nil, nil
	case r.Expires <= k.millis():
		return nil, ErrExpired
	case r.Persistent && slices.Contains(d.kept, r.ID): // its message came a second time, and it has ended since
		if one != nil {
			k.answer(one, r.taken())
			k.leave(one)
		}
		now := r.taken()
		return &now, nil
	}
	var call *bus.Record
	if one != nil { // as the chain has made it
		call = one.call
		k.leave(one)
	}
	if err := k.room(d, &r); err != nil {
		if call != nil {
			k.effects.Answer(*call, Outcome{Error: Internal})
		}
		return nil, err
	}
	one = k.enter(d, r)
	one.call, one.then, one.asked, one.Number = call, then, true, d.next
	d.next = max(0, d.next+1)
	if one.Persistent {
		k.change(one, Queued, true)
		k.rearm(one)
		now := one.taken()
		return &now, nil
	}
	one.stored = true
	k.offer(one, k.effects.Reachable(d.id))
	if one.over { // sent, one-way
		return &Outcome{}, nil
	}
	k.rearm(one)
	return nil, nil
}

// answer tells a request's caller, who waits no more then.
func (k *Desk) answer(r *request, o Outcome) {
	if r.call != nil {
		k.effects.Answer(*r.call, o)
		r.call = nil
	}
}

// conclude ends a request that is not persistent.
func (k *Desk) conclude(r *request, o Outcome, fate string) {
	k.leave(r)
	k.effects.Count(fate)
	k.answer(r, o)
	if r.then != nil {
		r.then(o)
	}
}

// change notes that a persistent request has another status now.
func (k *Desk) change(r *request, to Status, isNew bool) {
	if r.Status == to && !isNew {
		return
	}
	r.Status, r.Again = to, r.Again || r.sent
	c := Change{New: isNew, request: r}
	if r.Over() && to != Deleted {
		d := r.at
		d.kept = append(d.kept, r.ID)
		if n := len(d.kept) - k.settings.Kept; n > 0 {
			c.Prune = slices.Clone(d.kept[:n])
			d.kept = slices.Delete(d.kept, 0, n)
		}
	}
	c.Record = r.Record
	k.changes = append(k.changes, c)
	k.effects.Count(string(to))
}

// end ends a persistent request with its last status.
func (k *Desk) end(r *request, last Status) {
	d := r.at
	k.leave(r)
	k.change(r, last, false)
	k.advance(d)
}

// Changes returns what is to be stored; Stored is to be called then.
func (k *Desk) Changes() []Change {
	changes := k.changes
	k.changes = nil
	return changes
}

// Changed reports whether there is anything to be stored.
func (k *Desk) Changed() bool { return len(k.changes) > 0 }

// Stored goes on with what waited for changes to be durable.
func (k *Desk) Stored(changes []Change) {
	for _, c := range changes {
		if !c.New {
			continue
		}
		r := c.request
		r.stored = true
		k.answer(r, r.taken())
		k.try(r)
	}
}

// Await notes that a device has a persistent request in the store, which is loaded when it is needed.
func (k *Desk) Await(tenant ident.TenantID, id ident.DeviceID, expires int64) {
	d := k.device(tenant, id)
	d.durable++
	k.durable++
	if d.alarm.due == 0 || expires < d.alarm.due {
		k.set(&d.alarm, expires)
	}
}

// Awaited reports whether a device has persistent requests that are not loaded.
func (k *Desk) Awaited(id ident.DeviceID) bool {
	d := k.devices[id]
	return d != nil && !d.loaded && d.durable > 0
}

// Loaded reports whether a device's persistent requests are here.
func (k *Desk) Loaded(id ident.DeviceID) bool {
	d := k.devices[id]
	return d != nil && d.loaded
}

// Load takes on what the store has of a device's persistent requests, and sends what waits.
func (k *Desk) Load(tenant ident.TenantID, id ident.DeviceID, records []Record) {
	d := k.device(tenant, id)
	if d.loaded {
		return
	}
	d.loaded = true
	k.unset(&d.alarm)
	k.durable -= d.durable
	d.durable = 0
	slices.SortStableFunc(records, func(a, b Record) int { return cmp.Compare(a.Created, b.Created) })
	for _, r := range records {
		if r.Over() {
			d.kept = append(d.kept, r.ID)
			continue
		}
		if waiting := d.find(r.ID); waiting != nil { // its caller's message came a second time
			call := waiting.call
			k.leave(waiting)
			if call != nil {
				k.effects.Answer(*call, r.taken())
			}
		}
		one := k.enter(d, r)
		one.asked, one.stored = true, true
		one.sent, one.delivered = r.Again, r.Status == Delivered
		d.next = max(d.next, r.Number+1)
		k.rearm(one)
	}
	k.advance(d)
}
