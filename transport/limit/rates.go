package limit

import (
	"fmt"
	"time"
)

// Rates are the three rates of one level, a device or a tenant.
type Rates struct {
	Messages  Rate // messages without telemetry
	Telemetry Rate // messages with telemetry or attributes
	Points    Rate // single values
}

// ParseRates reads the three; an error names which.
func ParseRates(messages, telemetry, points string) (Rates, error) {
	var r Rates
	for _, f := range []struct {
		name string
		text string
		into *Rate
	}{{"messages", messages, &r.Messages}, {"telemetry", telemetry, &r.Telemetry}, {"points", points, &r.Points}} {
		var err error
		if *f.into, err = Parse(f.text); err != nil {
			return Rates{}, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return r, nil
}

// Meter meters Rates for one device or tenant. Safe for concurrent use. A nil Meter is unlimited.
type Meter struct{ messages, telemetry, points *Bucket }

// NewMeter returns a Meter whose buckets are full, nil when r limits nothing.
func NewMeter(r Rates, now time.Time) *Meter {
	if len(r.Messages) == 0 && len(r.Telemetry) == 0 && len(r.Points) == 0 {
		return nil
	}
	return &Meter{messages: New(r.Messages, now), telemetry: New(r.Telemetry, now), points: New(r.Points, now)}
}

// Share lets other processes take part in m's rates, which are known to them as level and id,
// through l. Call it before m is used. A nil l or m changes nothing.
func (m *Meter) Share(l *Ledger, level byte, id [16]byte) {
	if m == nil || l == nil {
		return
	}
	for kind, b := range map[byte]*Bucket{'m': m.messages, 't': m.telemetry, 'p': m.points} {
		if b != nil {
			b.ledger, b.name = l, Name{Level: level, ID: id, Kind: kind}
		}
	}
}

// Message meters one message without telemetry.
func (m *Meter) Message(now time.Time) bool {
	return m == nil || m.messages.Take(now, 1)
}

// Telemetry meters one message of that many values.
func (m *Meter) Telemetry(now time.Time, points int) bool {
	if m == nil {
		return true
	}
	if points == 0 {
		return m.messages.Take(now, 1)
	}
	if !m.telemetry.Take(now, 1) {
		return false
	}
	if !m.points.Take(now, points) {
		m.telemetry.Return(1)
		return false
	}
	return true
}

// Return undoes a Telemetry that was let pass.
func (m *Meter) Return(points int) {
	if m == nil {
		return
	}
	if points == 0 {
		m.messages.Return(1)
		return
	}
	m.telemetry.Return(1)
	m.points.Return(points)
}
