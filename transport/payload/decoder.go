// Package payload reads the JSON that devices send (RFC 8259, strictly) into typed values, in
// one pass and without allocating for the usual flat reading.
//
// Numbers are typed as they are written: without fraction and exponent LONG, with a fraction
// DOUBLE, with an exponent LONG when the value is integral, else DOUBLE. An integer that does
// not fit 64 bits becomes a STRING of its digits. Strings that look like numbers become those
// numbers unless Options says otherwise. null means "no value". Of a repeated member the last
// one counts. A payload that breaks a rule is refused whole, with the reason and the place; a
// key that cannot be stored is only left out, and counted.
package payload

import (
	"fmt"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/telemetry"
)

// Options are the rules that operators may change.
type Options struct {
	// KeepNumericStrings leaves "42" a string; integers beyond 64 bits are then refused.
	KeepNumericStrings bool
	// MaxDepth is the deepest nesting of objects and arrays, the payload itself included.
	MaxDepth int
	// MaxValues is how many values and time stamps one payload may hold.
	MaxValues int
	// MaxText is the longest text value in bytes; 0 is unlimited.
	MaxText int
}

// Decoder reads one payload at a time; reuse it to save allocations. Not for concurrent use.
type Decoder struct {
	options Options

	data  []byte
	pos   int
	depth int
	left  int  // how many more values the payload may hold
	loose bool // space was skipped since loose was last cleared

	records []telemetry.Record
	plain   set    // members of an object as they stand
	timed   set    // members of its "values"
	scratch []byte // text that is not in data as such: unescaped, compacted
	dropped Dropped
}

// NewDecoder returns a Decoder that follows o.
func NewDecoder(o Options) *Decoder { return &Decoder{options: o} }

// Dropped tells how many keys of the last payload could not be stored, by reason.
func (d *Decoder) Dropped() Dropped { return d.dropped }

// Telemetry reads {"k":v,…}, {"ts":ms,"values":{"k":v,…}} or an array of these. Records come in
// the payload's order; one without values is left out. Records without OwnTime have no Time yet.
//
// The records point into data and into d: they are valid until data changes or d is used
// again. Errors are of fault.Invalid.
func (d *Decoder) Telemetry(data []byte) ([]telemetry.Record, error) {
	d.reset(data)
	var err error
	switch d.peek() {
	case '{':
		err = d.element()
	case '[':
		err = d.elements()
	default:
		err = d.fail("an object or an array of objects is expected")
	}
	if err == nil {
		err = d.end()
	}
	if err != nil {
		return nil, err
	}
	return d.records, nil
}

// Attributes reads {"k":v,…}. The same holds for what it returns as for Telemetry.
func (d *Decoder) Attributes(data []byte) ([]telemetry.KeyValue, error) {
	d.reset(data)
	if d.peek() != '{' {
		return nil, d.fail("an object is expected")
	}
	if err := d.members(&d.plain); err != nil {
		return nil, err
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	d.dropped = d.plain.dropped
	return d.plain.finish(), nil
}

// Bounds on what a Decoder keeps between payloads, so that one huge payload is not paid for ever after.
const (
	keptScratch = 64 << 10
	keptRecords = 256
)

func (d *Decoder) reset(data []byte) {
	d.data, d.pos, d.depth, d.left = data, 0, 0, d.options.MaxValues
	d.dropped = Dropped{}
	d.plain.reset()
	d.scratch = d.scratch[:0]
	d.records = d.records[:0]
	if cap(d.scratch) > keptScratch {
		d.scratch = nil
	}
	if cap(d.records) > keptRecords {
		d.records = nil
	}
}

// elements reads an array of objects.
func (d *Decoder) elements() error {
	if err := d.enter(); err != nil {
		return err
	}
	if d.peek() == ']' {
		d.leave()
		return nil
	}
	for {
		if d.peek() != '{' {
			return d.fail("an object is expected")
		}
		if err := d.element(); err != nil {
			return err
		}
		switch d.peek() {
		case ',':
			d.pos++
		case ']':
			d.leave()
			return nil
		default:
			return d.fail("',' or ']' is expected")
		}
	}
}

// element reads one object into one record. It is a timed record when it has both "ts" and
// "values"; then its other members are of no interest.
func (d *Decoder) element() error {
	if err := d.count(); err != nil {
		return err
	}
	d.plain.reset()
	at, err := d.elementMembers()
	if err != nil {
		return err
	}
	if !at.timed() {
		d.addRecord(telemetry.Record{}, &d.plain)
		return nil
	}
	end := d.pos
	d.pos = at.ts
	ms, err := d.time()
	if err != nil {
		return err
	}
	if !at.valuesRead {
		d.pos = at.values
		if err := d.timedValues(); err != nil {
			return err
		}
	}
	d.pos = end
	d.addRecord(telemetry.Record{Time: ms, OwnTime: true}, &d.timed)
	return nil
}

// places is where an object's "ts" and "values" members begin; 0 where there is none.
type places struct {
	ts, values int
	valuesRead bool // into d.timed
}

func (p places) timed() bool { return p.ts > 0 && p.values > 0 }

// elementMembers reads an object's members into d.plain. "values" that follow "ts" go to
// d.timed at once, so that the usual order of the two is read only once.
func (d *Decoder) elementMembers() (at places, err error) {
	if err := d.enter(); err != nil {
		return at, err
	}
	for first := true; ; first = false {
		key, more, err := d.nextKey(first)
		if err != nil || !more {
			return at, err
		}
		switch key {
		case "ts":
			at.ts = d.pos
		case "values":
			at.values, at.valuesRead = d.pos, at.ts > 0
			if at.valuesRead {
				if err := d.timedValues(); err != nil {
					return at, err
				}
				continue
			}
		}
		if err := d.member(&d.plain, key); err != nil {
			return at, err
		}
	}
}

func (d *Decoder) timedValues() error {
	d.timed.reset()
	if d.peek() != '{' {
		return d.fail(`"values" must be an object`)
	}
	return d.members(&d.timed)
}

// members reads an object into s.
func (d *Decoder) members(s *set) error {
	if err := d.enter(); err != nil {
		return err
	}
	for first := true; ; first = false {
		key, more, err := d.nextKey(first)
		if err != nil || !more {
			return err
		}
		if err := d.member(s, key); err != nil {
			return err
		}
	}
}

func (d *Decoder) member(s *set, key string) error {
	if err := d.count(); err != nil {
		return err
	}
	v, err := d.value()
	if err != nil {
		return err
	}
	s.put(key, v)
	return nil
}

// nextKey reads up to the first byte of the next member's value, or past the object's end.
func (d *Decoder) nextKey(first bool) (key string, more bool, err error) {
	c := d.peek()
	if c == '}' {
		d.leave()
		return "", false, nil
	}
	if !first {
		if c != ',' {
			return "", false, d.fail("',' or '}' is expected")
		}
		d.pos++
		c = d.peek()
	}
	if c != '"' {
		return "", false, d.fail("a member's name in double quotes is expected")
	}
	if key, err = d.text(); err != nil {
		return "", false, err
	}
	if d.peek() != ':' {
		return "", false, d.fail("':' is expected")
	}
	d.pos++
	d.peek()
	return key, true, nil
}

// addRecord moves s's values into a new record, trading slices so that both are reused.
func (d *Decoder) addRecord(r telemetry.Record, s *set) {
	d.dropped.add(s.dropped)
	values := s.finish()
	if len(values) == 0 {
		return
	}
	n := len(d.records)
	if n < cap(d.records) {
		d.records = d.records[:n+1]
		s.values = d.records[n].Values
	} else {
		d.records = append(d.records, telemetry.Record{})
		s.values = nil
	}
	r.Values = values
	d.records[n] = r
}

func (d *Decoder) count() error {
	if d.left == 0 {
		return d.fail(fmt.Sprintf("more than %d values", d.options.MaxValues))
	}
	d.left--
	return nil
}

// enter steps into an object or array, leave out of it.
func (d *Decoder) enter() error {
	if d.depth == d.options.MaxDepth {
		return d.fail(fmt.Sprintf("nested deeper than %d", d.options.MaxDepth))
	}
	d.depth++
	d.pos++
	return nil
}

func (d *Decoder) leave() {
	d.depth--
	d.pos++
}

// peek skips space and returns the next byte, 0 at the end (which is no byte of valid JSON).
func (d *Decoder) peek() byte {
	for d.pos < len(d.data) {
		switch c := d.data[d.pos]; c {
		case ' ', '\t', '\n', '\r':
			d.pos++
			d.loose = true
		default:
			return c
		}
	}
	return 0
}

// end makes sure that nothing follows.
func (d *Decoder) end() error {
	if d.peek(); d.pos < len(d.data) {
		return d.fail("the payload goes on after its end")
	}
	return nil
}

func (d *Decoder) fail(reason string) error {
	if d.pos >= len(d.data) {
		return fault.New(fault.Invalid, fmt.Sprintf("payload ends at byte %d: %s", len(d.data), reason))
	}
	return fault.New(fault.Invalid, fmt.Sprintf("payload at byte %d: %s", d.pos, reason))
}
