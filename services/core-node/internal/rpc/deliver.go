package rpc

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/state"
)

func itoa(n int) string { return strconv.Itoa(n) }

// open reports whether r may be sent to a session that does not have it.
func (k *Desk) open(r *request) bool {
	return r.asked && r.stored && !r.over && !r.delivered && r.Expires > k.millis() && !k.held(r)
}

// held reports whether r has to wait for an earlier one of its device.
func (k *Desk) held(r *request) bool {
	if !r.Persistent || k.settings.Submit == Burst {
		return false
	}
	for _, earlier := range r.at.requests {
		if earlier == r {
			return false
		}
		if earlier.Persistent && (!earlier.delivered || k.settings.Submit == OnResponse) {
			return true
		}
	}
	return false
}

// try sends r if that is its turn and its device can be reached.
func (k *Desk) try(r *request) {
	if r.to.IsZero() && r.pause <= k.millis() && k.open(r) {
		k.offer(r, k.effects.Reachable(r.at.id))
	}
}

// advance tries what may be its turn now.
func (k *Desk) advance(d *device) {
	for _, r := range append([]*request(nil), d.requests...) {
		if r.Persistent {
			k.try(r)
		}
	}
}

// silence is how much longer than the device's time for acknowledging a session is waited for.
const silence = 5 * time.Second

// offer sends r to sessions, if there are any. Nobody waits for a one-way request any more then: it is over.
func (k *Desk) offer(r *request, sessions []state.Session) {
	if len(sessions) == 0 {
		return
	}
	now := k.millis()
	within := min(k.settings.Acknowledge.Milliseconds(), r.Expires-now)
	wire := &sluicepb.RpcRequest{
		RequestId: r.Number, Method: r.Method, Params: r.Params, RpcId: r.ID[:], ExpiresAtMs: r.Expires,
		OneWay: r.OneWay, Persistent: r.Persistent, Again: r.sent,
	}
	if r.Persistent {
		wire.AcknowledgeWithinMs = within
		r.silent = now + within + silence.Milliseconds()
	}
	r.sent, r.to = true, sessions[0].ID
	oneWay := r.OneWay && !r.Persistent
	for i, s := range sessions {
		if oneWay && i == 0 {
			k.effects.Send(s, r.at.id, wire, r.call)
			continue
		}
		k.effects.Send(s, r.at.id, wire, nil)
	}
	if oneWay {
		k.leave(r)
		k.effects.Count(FateSent)
		return
	}
	k.rearm(r)
}

// Subscribed sends what waits for the device to a session that takes requests from now on. It reports whether anything was
// sent; a session that waits for a single downlink is over then.
func (k *Desk) Subscribed(id ident.DeviceID, s state.Session) (told bool) {
	d := k.devices[id]
	if d == nil {
		return false
	}
	for _, r := range append([]*request(nil), d.requests...) {
		if r.to == s.ID || s.Once && !r.to.IsZero() || !k.open(r) { // it, or another, has the request
			continue
		}
		r.attempts, r.pause, told = 0, 0, true
		k.offer(r, []state.Session{s})
		if r.over && r.then != nil {
			r.then(Outcome{})
		}
		if s.Once {
			return true
		}
	}
	return told
}

// Ended notes that a session of a device is over. What it has not delivered waits for the next.
func (k *Desk) Ended(id ident.DeviceID, session ident.ID) {
	d := k.devices[id]
	if d == nil {
		return
	}
	for _, r := range d.requests {
		if r.to == session {
			k.unsent(r)
		}
	}
}

// unsent has r wait for a session, or its pause to end.
func (k *Desk) unsent(r *request) {
	r.to, r.silent, r.attempts = ident.ID{}, 0, 0
	if r.Persistent && !r.delivered {
		k.change(r, Queued, false)
	}
	k.rearm(r)
}

// Progress notes how far a session got with a request. What is late, or of an earlier owner, changes nothing.
func (k *Desk) Progress(id ident.DeviceID, p *sluicepb.RpcProgress) {
	d := k.devices[id]
	if d == nil {
		return
	}
	r := d.numbered(p.GetRequestId())
	if r == nil || r.delivered || string(r.ID[:]) != string(p.GetRpcId()) {
		return
	}
	switch p.GetStage() {
	case sluicepb.RpcStage_RPC_SENT:
		if r.Persistent {
			k.change(r, Sent, false)
		}
	case sluicepb.RpcStage_RPC_DELIVERED:
		k.arrived(r)
	case sluicepb.RpcStage_RPC_TIMED_OUT:
		if r.Persistent && string(r.to[:]) == string(p.GetSessionId()) {
			k.unacknowledged(r)
		}
	case sluicepb.RpcStage_RPC_UNSENT:
		if r.Persistent {
			k.end(r, Failed)
			return
		}
		k.conclude(r, Outcome{Error: Internal}, FateAbandoned)
	}
}

func (k *Desk) arrived(r *request) {
	r.delivered, r.to, r.silent = true, ident.ID{}, 0
	if !r.Persistent {
		return
	}
	if r.OneWay {
		k.end(r, Delivered)
		return
	}
	k.change(r, Delivered, false)
	k.rearm(r)
	k.advance(r.at)
}

// firstPause is how long a request that was sent again without being acknowledged waits before it is a second time; it doubles
// from then on. Together they outlast a device that is cut off without its session noticing.
const firstPause = 10 * time.Second

// unacknowledged has r sent again, unless that was done often enough.
func (k *Desk) unacknowledged(r *request) {
	retries := r.Retries
	if retries < 0 {
		retries = k.settings.Retries
	}
	session := r.to
	r.to, r.silent = ident.ID{}, 0
	r.attempts++
	switch {
	case r.attempts <= retries:
		k.change(r, TimedOut, false)
		if r.attempts > 1 {
			r.pause = k.millis() + firstPause.Milliseconds()<<min(r.attempts-2, 8)
		}
		k.rearm(r)
		k.try(r)
	case k.settings.CloseUndelivered:
		k.change(r, Queued, false)
		r.attempts = 0
		k.rearm(r)
		k.effects.Close(session, r.at.id)
	default:
		k.end(r, Failed)
	}
}

// Reply notes what the device answered. Only the first answer to a request counts; what was not asked is left out.
func (k *Desk) Reply(id ident.DeviceID, reply *sluicepb.RpcReply) {
	d := k.devices[id]
	if d == nil {
		return
	}
	r := d.numbered(reply.GetRequestId())
	if r == nil || r.OneWay || !r.sent {
		return
	}
	payload, last := reply.GetPayload(), Successful
	if reply.GetError() != "" {
		payload, last = reply.GetError(), Failed
	}
	if !r.Persistent {
		k.conclude(r, Outcome{Payload: payload}, FateAnswered)
		return
	}
	r.Response = asJSON(payload)
	k.end(r, last)
}

// asJSON is text as JSON: itself, or a string.
func asJSON(text string) json.RawMessage {
	if json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	quoted, _ := json.Marshal(text) // a text always encodes
	return quoted
}

// Remove ends a persistent request for good. The record is what the store has of it.
func (k *Desk) Remove(r Record) {
	d := k.device(r.Tenant, r.Device)
	if one := d.find(r.ID); one != nil && one.asked {
		k.end(one, Deleted)
		return
	}
	r.Status = Deleted
	for i, kept := range d.kept {
		if kept == r.ID {
			d.kept = append(d.kept[:i:i], d.kept[i+1:]...)
			break
		}
	}
	k.changes = append(k.changes, Change{Record: r})
	k.effects.Count(string(Deleted))
}

// Drop forgets all requests of a device that is gone. Those who wait are told; what is stored is the caller's to remove.
func (k *Desk) Drop(id ident.DeviceID) (persistent []Record) {
	d := k.devices[id]
	if d == nil {
		return nil
	}
	for _, r := range append([]*request(nil), d.requests...) {
		if r.Persistent && r.asked {
			persistent = append(persistent, r.Record)
			k.leave(r)
			k.answer(r, Outcome{Error: NotFound})
			continue
		}
		k.conclude(r, Outcome{Error: NotFound}, FateAbandoned)
	}
	k.unset(&d.alarm)
	k.durable -= d.durable // of those that were not loaded
	delete(k.devices, id)
	return persistent
}

// errGone is what callers are told of a device that is not there.
var errGone = fault.New(fault.NotFound, "Device with requested id wasn't found!")

// Gone returns the error of a device that is not there.
func Gone() error { return errGone }
