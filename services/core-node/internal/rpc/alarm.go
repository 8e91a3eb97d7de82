package rpc

import (
	"container/heap"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
)

// alarm is when something is to be done with a request, or with the requests of a device that are not loaded.
type alarm struct {
	due     int64 // ms; 0: it is not set
	place   int   // in the heap
	request *request
	device  *device
}

type alarms []*alarm

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].due < a[j].due }
func (a alarms) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = i, j
}

// Push implements heap.Interface.
func (a *alarms) Push(x any) {
	one := x.(*alarm)
	one.place = len(*a)
	*a = append(*a, one)
}

// Pop implements heap.Interface.
func (a *alarms) Pop() any {
	last := (*a)[len(*a)-1]
	(*a)[len(*a)-1] = nil
	*a = (*a)[:len(*a)-1]
	return last
}

func (k *Desk) set(a *alarm, due int64) {
	if a.due != 0 {
		a.due = due
		heap.Fix(&k.alarms, a.place)
		return
	}
	a.due = due
	heap.Push(&k.alarms, a)
}

func (k *Desk) unset(a *alarm) {
	if a.due != 0 {
		heap.Remove(&k.alarms, a.place)
		a.due = 0
	}
}

func (k *Desk) wake(r *request, due int64) { k.set(&r.alarm, due) }
func (k *Desk) sleep(r *request)           { k.unset(&r.alarm) }

// rearm sets r's alarm to what comes first: its end, its session's silence, or the end of its pause.
func (k *Desk) rearm(r *request) {
	due := r.Expires
	if r.silent > 0 {
		due = min(due, r.silent)
	}
	if r.pause > k.millis() {
		due = min(due, r.pause)
	}
	k.wake(r, due)
}

// Due is when Tick has something to do; zero if never.
func (k *Desk) Due() time.Time {
	if len(k.alarms) == 0 {
		return time.Time{}
	}
	return time.UnixMilli(k.alarms[0].due)
}

// Waiting names a device whose persistent requests are in the store.
type Waiting struct {
	Tenant ident.TenantID
	Device ident.DeviceID
}

// Tick does what is due, and returns the devices whose persistent requests are to be loaded: some expire.
func (k *Desk) Tick() (load []Waiting) {
	now := k.millis()
	for len(k.alarms) > 0 && k.alarms[0].due <= now {
		a := k.alarms[0]
		k.unset(a)
		if a.device != nil {
			load = append(load, Waiting{a.device.tenant, a.device.id})
			continue
		}
		k.strike(a.request, now)
	}
	return load
}

func (k *Desk) strike(r *request, now int64) {
	switch {
	case !r.asked:
		k.conclude(r, Outcome{Error: Timeout}, FateExpired)
	case r.Expires <= now && r.Persistent:
		k.end(r, Expired)
	case r.Expires <= now && r.sent:
		k.conclude(r, Outcome{Error: Timeout}, FateExpired)
	case r.Expires <= now:
		k.conclude(r, Outcome{Error: NoConnection}, FateExpired)
	default:
		if r.silent > 0 && r.silent <= now { // whoever has it says nothing any more
			r.to, r.silent = ident.ID{}, 0
		}
		k.rearm(r)
		k.try(r)
		if r.to.IsZero() && !r.delivered && r.pause <= now {
			k.change(r, Queued, false)
		}
	}
}
