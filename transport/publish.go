package transport

import (
	"errors"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/schema"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/transport/payload"
)

// draft is what it takes to make one uplink; it is reused.
type draft struct {
	decoder *payload.Decoder
	uplink  telemetry.Uplink
	bytes   []byte
	json    []byte // what a protobuf payload is as JSON
}

// keptBytes bounds the buffers that drafts keep.
const keptBytes = 16 << 10

// receipt waits for the bus to have one uplink; it is reused.
type receipt struct {
	transport *Transport
	counters  *uplinkCounters
	done      func(error)
	finish    func(error) // r.finished, bound once
}

// PublishTelemetry implements Uplinks.
func (t *Transport) PublishTelemetry(d *Device, from Origin, data []byte, done func(error)) error {
	f := t.drafts.Get().(*draft)
	defer t.drafts.Put(f)
	data, err := t.readable(d, from.Format, schema.ForTelemetry, data, f)
	var records []telemetry.Record
	if err == nil {
		records, err = f.decoder.Telemetry(data)
	}
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
	data, err := t.readable(d, from.Format, schema.ForAttributes, data, f)
	var values []telemetry.KeyValue
	if err == nil {
		values, err = f.decoder.Attributes(data)
	}
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
	if d.state.coreFull.Load() {
		return t.bus.Room(topics.Core, d.ID.ID[:])
	}
	return t.bus.Room(d.topic, d.ID.ID[:])
}

// publish puts the draft's uplink of that many points on the bus; decoding is the error its payload gave.
func (t *Transport) publish(d *Device, from Origin, f *draft, points int, decoding error, done func(error)) error {
	counters := t.metrics.uplinksOf(from.Transport)
	if decoding != nil {
		counters.invalid.Inc()
		return decoding
	}
	now := time.Now()
	if !d.allowValues(now, points) {
		counters.limited.Inc()
		return ErrRateLimited
	}
	if points == 0 {
		t.metrics.dropped(f.decoder.Dropped())
		t.activity.note(d, now)
		counters.empty.Inc()
		done(nil)
		return nil
	}
	err := t.stampAndSend(d, from, f, now, done)
	switch {
	case err == nil:
		t.metrics.dropped(f.decoder.Dropped())
	case errors.Is(err, bus.ErrFull):
		counters.full.Inc()
		d.state.coreFull.Store(false)
		d.returnValues(points)
	}
	return err
}

// stampAndSend gives the uplink its id and times and sends it. What is not sent uses up no time.
func (t *Transport) stampAndSend(d *Device, from Origin, f *draft, now time.Time, done func(error)) error {
	first, untimed := int64(0), countUntimed(f.uplink.Telemetry)
	if untimed > 0 {
		var ok bool
		if first, ok = d.state.clock.take(now.UnixMilli(), untimed); !ok {
			return bus.ErrFull
		}
		stamp(f.uplink.Telemetry, first)
	}
	f.uplink.ID = t.ids.next()
	f.uplink.ReceivedAt = now.UnixMicro()
	f.uplink.Transport, f.uplink.Topic = from.Transport, from.Topic
	if err := t.send(d, f, t.metrics.uplinksOf(from.Transport), done); err != nil {
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

// send encodes the draft's uplink behind the device's identity and publishes it.
func (t *Transport) send(d *Device, f *draft, counters *uplinkCounters, done func(error)) error {
	identity := *d.state.identity.Load()
	if size := len(identity) + telemetry.SizeUplink(&f.uplink); size > t.config.UplinkMaxBytes {
		counters.tooLarge.Inc()
		return ErrTooLarge
	}
	if cap(f.bytes) > keptBytes {
		f.bytes = nil
	}
	f.bytes = telemetry.AppendUplink(append(f.bytes[:0], identity...), &f.uplink)
	r := t.receipts.Get().(*receipt)
	r.counters, r.done = counters, done
	err := t.bus.Publish(bus.Message{Topic: d.topic, Key: d.ID.ID[:], Value: f.bytes}, r.finish)
	if err == nil {
		return nil
	}
	t.putReceipt(r)
	switch {
	case errors.Is(err, bus.ErrFull):
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
func (r *receipt) finished(err error) {
	t, counters, done := r.transport, r.counters, r.done
	t.putReceipt(r)
	if err != nil {
		counters.unavailable.Inc()
		done(busFault("publish uplink", err))
		return
	}
	counters.acknowledged.Inc()
	done(nil)
}

func (t *Transport) putReceipt(r *receipt) {
	r.counters, r.done = nil, nil
	t.receipts.Put(r)
}
