package limit

import (
	"testing"
	"time"
)

// usages reads l and returns what was spent by name.
func usages(l *Ledger) map[Name]float64 {
	spent := map[Name]float64{}
	for _, u := range l.Read() {
		spent[u.Name] += u.Spent
	}
	return spent
}

func shared(t *testing.T, l *Ledger, level byte, id byte, now time.Time) *Meter {
	t.Helper()
	rates, err := ParseRates("", "10:10", "40:10")
	if err != nil {
		t.Fatal(err)
	}
	m := NewMeter(rates, now)
	m.Share(l, level, [16]byte{id})
	return m
}

func TestLedgerTellsWhatWasSpent(t *testing.T) {
	now := time.Unix(1000, 0)
	l := NewLedger(10)
	m := shared(t, l, 't', 1, now)
	m.Telemetry(now, 3)
	m.Telemetry(now, 4)
	m.Return(4)
	telemetry, points := Name{'t', [16]byte{1}, 't'}, Name{'t', [16]byte{1}, 'p'}
	if spent := usages(l); len(spent) != 2 || spent[telemetry] != 1 || spent[points] != 3 {
		t.Errorf("spent %v", spent)
	}
	if spent := usages(l); len(spent) != 0 {
		t.Errorf("told twice: %v", spent)
	}
	m.Return(3)
	if spent := usages(l); spent[telemetry] != -1 || spent[points] != -3 {
		t.Errorf("told %v of what was given back", spent)
	}
	alone := NewMeter(Rates{Telemetry: Rate{{1, time.Second}}}, now)
	alone.Telemetry(now, 1)
	var none *Meter
	none.Share(l, 't', [16]byte{})
	if spent := usages(l); len(spent) != 0 {
		t.Errorf("a meter that is not shared is told of: %v", spent)
	}
}

func TestLedgerIsBounded(t *testing.T) {
	now := time.Unix(1000, 0)
	l := NewLedger(4)
	var meters []*Meter
	for id := range byte(5) {
		meters = append(meters, shared(t, l, 'd', id, now))
	}
	tenant := shared(t, l, 't', 9, now)
	for _, m := range append(meters, tenant) {
		m.Telemetry(now, 1)
	}
	read := l.Read()
	if len(read) != 6 || read[0].Name.Level != 't' {
		t.Fatalf("%d listed, the first of level %c; want 6, a tenant's first", len(read), read[0].Name.Level)
	}
	meters[4].Telemetry(now, 1) // it found no place, and is told of in full now
	if spent := usages(l)[Name{'d', [16]byte{4}, 't'}]; spent != 2 {
		t.Errorf("spent %v, want 2", spent)
	}
}

func TestSettledBucketsObeyTheFleet(t *testing.T) {
	now := time.Unix(1000, 0)
	l := NewLedger(10)
	m := shared(t, l, 't', 1, now)
	m.Telemetry(now, 1)
	for _, u := range l.Read() {
		m.Telemetry(now, 1) // between reading and settling
		u.Settle(now, []float64{-2})
		u.Settle(now, []float64{1, 1}) // not this rate's windows: left out
		u.Settle(now, []float64{1000}) // more than it has itself gives it nothing
	}
	if m.Telemetry(now, 1) {
		t.Error("it passes while the fleet is in debt")
	}
	if m.Telemetry(now.Add(2*time.Second), 1) {
		t.Error("it passes before the debt is paid")
	}
	if !m.Telemetry(now.Add(5*time.Second), 1) {
		t.Error("it does not pass once the debt is paid")
	}
}
