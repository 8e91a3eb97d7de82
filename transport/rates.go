package transport

import (
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/transport/limit"
	"github.com/sluice-iot/sluice/transport/payload"
)

// Levels of rates, as the processes of a fleet know them.
const (
	levelTenant = 't'
	levelDevice = 'd'
	levelBehind = 'g'
)

// metered is a rate in force and how it is written. It is replaced whole when the rate changes.
type metered struct {
	text  Limits
	meter *limit.Meter // nil: unlimited
}

// rate is a rate that may change. Safe for concurrent use.
type rate struct{ now atomic.Pointer[metered] }

func (r *rate) meter() *limit.Meter {
	if m := r.now.Load(); m != nil {
		return m.meter
	}
	return nil
}

func (r *rate) text() Limits {
	if m := r.now.Load(); m != nil {
		return m.text
	}
	return Limits{}
}

// set puts text in force, unless it is already: then what was spent stays spent.
func (t *Transport) set(r *rate, text Limits, level byte, id [16]byte) {
	before := r.now.Load()
	if before != nil && before.text == text {
		return
	}
	rates, err := limit.ParseRates(text.Messages, text.Telemetry, text.Points)
	if err != nil {
		t.log.Warn("a rate of a tenant's profile cannot be read; the one before stays", slog.Any("err", err))
		return
	}
	m := &metered{text: text, meter: limit.NewMeter(rates, time.Now())}
	m.meter.Share(t.ledger, level, id)
	r.now.Store(m)
}

// setRates puts in force what the device's tenant's profile says, or else the settings.
func (t *Transport) setRates(d *Device, rates *sluicepb.RateLimits) {
	own, behind := rates.GetDevice(), (*sluicepb.RateLimit)(nil)
	if d.Gateway {
		own, behind = rates.GetGatewayDevice(), rates.GetGateway()
	}
	t.set(&d.state.rate, limitsOf(own, t.config.DeviceLimits), levelDevice, d.ID.ID)
	t.set(&d.state.behind, limitsOf(behind, Limits{}), levelBehind, d.ID.ID)
	t.set(&d.state.tenant.rate, limitsOf(rates.GetTenant(), t.config.TenantLimits), levelTenant, d.Tenant.ID)
}

func limitsOf(r *sluicepb.RateLimit, settings Limits) Limits {
	if r == nil {
		return settings
	}
	return Limits{Messages: r.GetMessages(), Telemetry: r.GetTelemetryMessages(), Points: r.GetTelemetryPoints()}
}

// meters are the rates that a message of d counts against: its own first, so that one that sends too much does not use up its gateway's
// or its tenant's.
func (d *Device) meters() [3]*limit.Meter {
	own, tenant := d.state.rate.meter(), d.state.tenant.rate.meter()
	if d.gateway == nil {
		return [3]*limit.Meter{own, nil, tenant}
	}
	return [3]*limit.Meter{own, d.gateway.behind.meter(), tenant}
}

// allowMessage meters a message of d that carries no values.
func (d *Device) allowMessage(now time.Time) bool { return d.allowValues(now, 0) }

// returnMessage undoes allowMessage for a message that will be tried again.
func (d *Device) returnMessage() { d.returnValues(0) }

// allowValues meters a message with that many values.
func (d *Device) allowValues(now time.Time, points int) bool {
	meters := d.meters()
	for i, m := range meters {
		if !m.Telemetry(now, points) {
			for _, passed := range meters[:i] {
				passed.Return(points)
			}
			return false
		}
	}
	return true
}

// returnValues undoes allowValues for a message that will be tried again.
func (d *Device) returnValues(points int) {
	for _, m := range d.meters() {
		m.Return(points)
	}
}

// RatesOf returns the rates that d is held to, and for a gateway those of what it sends for the devices behind it, else nil.
func (d *Device) RatesOf() (own Limits, behind *Limits) {
	own = d.state.rate.text()
	if d.Gateway {
		text := d.state.behind.text()
		behind = &text
	}
	return own, behind
}

// Rates are the rates in force for d, its tenant and, for a gateway, for the devices behind it, for devices that ask.
func (d *Device) Rates() *sluicepb.RateLimits {
	if d.state == nil {
		return &sluicepb.RateLimits{} // it is no Transport's
	}
	own, behind := d.RatesOf()
	r := &sluicepb.RateLimits{Device: own.written(), Tenant: d.state.tenant.rate.text().written()}
	if behind != nil {
		r.GatewayDevice, r.Gateway, r.Device = r.Device, behind.written(), nil
	}
	return r
}

func (l Limits) written() *sluicepb.RateLimit {
	return &sluicepb.RateLimit{Messages: l.Messages, TelemetryMessages: l.Telemetry, TelemetryPoints: l.Points}
}

// AppendSessionLimits appends the answer to getSessionLimits (device-api §1.9) for a protocol that takes payloads of that many bytes and
// that many messages in flight.
func (d *Device) AppendSessionLimits(dst []byte, maxPayload, maxInFlight int) []byte {
	own, behind := d.RatesOf()
	dst = strconv.AppendInt(append(dst, `{"maxPayloadSize":`...), int64(maxPayload), 10)
	dst = strconv.AppendInt(append(dst, `,"maxInflightMessages":`...), int64(maxInFlight), 10)
	dst = own.append(append(dst, `,"rateLimits":`...))
	if behind != nil {
		dst = behind.append(append(dst, `,"gatewayRateLimits":`...))
	}
	return append(dst, '}')
}

// append appends l as devices are told it; null is unlimited.
func (l *Limits) append(dst []byte) []byte {
	for i, one := range []struct{ name, text string }{{"messages", l.Messages}, {"telemetryMessages", l.Telemetry}, {"telemetryDataPoints", l.Points}} {
		dst = payload.AppendText(append(dst, "{,,"[i]), one.name)
		if one.text == "" {
			dst = append(dst, ":null"...)
		} else {
			dst = payload.AppendText(append(dst, ':'), one.text)
		}
	}
	return append(dst, '}')
}
