package transport

import (
	"errors"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/transport/payload"
)

// draft is what it takes to make one uplink; it is reused.
type draft struct {
	decoder *payload.Decoder
	uplink  telemetry.Uplink
}

// parcel is one uplink on its way over the bus. It is reused unless the bus may still hold its bytes.
type parcel struct {
	transport *Transport
	counters  *uplinkCounters
	bytes     []byte
	done      func(error)
	finish    func(error) // p.finished, bound once
}

// keptParcel bounds the buffers that are kept for reuse.
const keptParcel = 8 << 10

// PublishTelemetry implements Uplinks.
func (t *Transport) PublishTelemetry(d *Device, from Origin, data []byte, done func(error)) error {
	f := t.drafts.Get().(*draft)
	defer t.drafts.Put(f)
	records, err := f.decoder.Telemetry(data)
	points := 0
	for i := range records {
		points += len(records[i].Values)
	}
	f.uplink = telemetry.Uplink{Telemetry: records}
	return t.publish(d, from, f, points, err, done)
}

// PublishAttributes implements Uplinks.
func (t *Transport) PublishAttributes(d *Device, from Origin, data []byte, done func(error)) error {
	f := t.drafts.Get().(*draft)
	defer t.drafts.Put(f)
	values, err := f.decoder.Attributes(data)
	f.uplink = telemetry.Uplink{Attributes: values}
	return t.publish(d, from, f, len(values), err, done)
}

// Room implements Uplinks. A device that ran ahead of the clock has room when the clock has caught up.
func (t *Transport) Room(d *Device) <-chan struct{} {
	if wait := d.state.clock.wait(time.Now().UnixMilli()); wait > 0 {
		room := make(chan struct{})
		time.AfterFunc(wait, func() { close(room) })
		return room
	}
	return t.bus.Room(topics.RuleEngine, d.ID.ID[:])
}

// publish puts the draft's uplink of that many points on the bus; decoding is the error its payload gave.
func (t *Transport) publish(d *Device, from Origin, f *draft, points int, decoding error, done func(error)) error {
	counters := t.metrics.uplinksOf(from.Transport)
	if decoding != nil {
		counters.invalid.Inc()
		return decoding
	}
	t.metrics.dropped(f.decoder.Dropped())
	now := time.Now()
	if !d.allowValues(now, points) {
		counters.limited.Inc()
		return ErrRateLimited
	}
	if points == 0 {
		t.activity.note(d, now)
		counters.empty.Inc()
		done(nil)
		return nil
	}
	first, untimed := int64(0), countUntimed(f.uplink.Telemetry)
	if untimed > 0 {
		var ok bool
		if first, ok = d.state.clock.take(now.UnixMilli(), untimed); !ok {
			counters.full.Inc()
			return bus.ErrFull
		}
		stamp(f.uplink.Telemetry, first)
	}
	f.uplink.ID = t.ids.next()
	f.uplink.ReceivedAt = now.UnixMicro()
	f.uplink.Transport, f.uplink.Topic = from.Transport, from.Topic
	err := t.send(d, &f.uplink, counters, done)
	if err != nil {
		if untimed > 0 {
			d.state.clock.giveBack(first, untimed)
		}
		return err
	}
	d.state.lastUplink.Store(now.UnixMilli())
	return nil
}

func countUntimed(records []telemetry.Record) int {
	n := 0
	for i := range records {
		if !records[i].OwnTime {
			n++
		}
	}
	return n
}

func stamp(records []telemetry.Record, ms int64) {
	for i := range records {
		if !records[i].OwnTime {
			records[i].Time = ms
			ms++
		}
	}
}

// send encodes u behind the device's identity and publishes it.
func (t *Transport) send(d *Device, u *telemetry.Uplink, counters *uplinkCounters, done func(error)) error {
	identity := *d.state.identity.Load()
	if size := len(identity) + telemetry.SizeUplink(u); size > t.config.UplinkMaxBytes {
		counters.tooLarge.Inc()
		return ErrTooLarge
	}
	p := t.parcels.Get().(*parcel)
	p.counters, p.done = counters, done
	p.bytes = telemetry.AppendUplink(append(p.bytes[:0], identity...), u)
	err := t.bus.Publish(bus.Message{Topic: topics.RuleEngine, Key: d.ID.ID[:], Value: p.bytes}, p.finish)
	if err == nil {
		return nil
	}
	t.putParcel(p)
	switch {
	case errors.Is(err, bus.ErrFull):
		counters.full.Inc()
		return bus.ErrFull
	case errors.Is(err, bus.ErrTooLarge):
		counters.tooLarge.Inc()
		return ErrTooLarge
	default:
		counters.unavailable.Inc()
		return fault.Wrap(fault.Unavailable, "publish uplink", err)
	}
}

// finished is called by the bus once it has the uplink, or not.
func (p *parcel) finished(err error) {
	done := p.done
	if err == nil {
		p.counters.acknowledged.Inc()
		done(nil)
	} else {
		p.counters.unavailable.Inc()
		done(busFault("publish uplink", err))
	}
	// After the deadline the request may still be on its way, and with it these bytes.
	if !errors.Is(err, bus.ErrDeadline) {
		p.transport.putParcel(p)
	}
}

func (t *Transport) putParcel(p *parcel) {
	p.done, p.counters = nil, nil
	if cap(p.bytes) <= keptParcel {
		t.parcels.Put(p)
	}
}
