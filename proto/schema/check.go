package schema

import "github.com/sluice-iot/sluice/proto/fault"

// Purpose says which of a profile's schemas a text is.
type Purpose uint8

// What the messages of a profile's schemas are.
const (
	ForTelemetry  Purpose = iota // readings of devices
	ForAttributes                // attributes of devices
	ForRequests                  // requests to devices
	ForReplies                   // what devices answer
)

// Check returns why a text cannot serve its purpose, of fault.Invalid: it does not compile, or every message of it would be refused
// (device-api §1.13, §1.4, §1.6).
func Check(text string, p Purpose) error {
	s, err := Compile(text)
	if err != nil {
		return err
	}
	switch p {
	case ForTelemetry:
		return s.root.checkReadings()
	case ForAttributes:
		return s.root.checkValues()
	case ForRequests:
		return s.root.checkRequests()
	default:
		return nil
	}
}

// checkValues: what has no fields has no values, and that devices send nothing is refused.
func (m *message) checkValues() error {
	if len(m.fields) == 0 {
		return m.lacks("no fields")
	}
	return nil
}

// checkReadings: what has a time has its values in an object.
func (m *message) checkReadings() error {
	ts, values := m.inJSON("ts"), m.inJSON("values")
	if ts == nil || values == nil {
		return m.checkValues()
	}
	switch {
	case ts.repeated || ts.kind == kindBool || ts.kind == kindBytes || ts.kind == kindEnum || ts.kind == kindMessage:
		return m.lacks(`a field ts that is no number of milliseconds`)
	case values.kind != kindMessage || values.repeated && !values.isMap:
		return m.lacks(`a field values beside ts that is no message`)
	case len(values.message.fields) == 0:
		return m.lacks(`a field values without fields`)
	}
	return nil
}

// checkRequests: a device must learn what it is asked, and by which number.
func (m *message) checkRequests() error {
	method, id := m.byName["method"], m.byName["requestId"]
	switch {
	case method == nil || method.repeated || method.kind != kindString:
		return m.lacks(`no field method of type string`)
	case id == nil || id.repeated || !id.kind.integer():
		return m.lacks(`no field requestId of type int32`)
	case m.byName["params"] == nil:
		return m.lacks(`no field params`)
	}
	return nil
}

// inJSON returns the field that has this name in JSON, which may not be the one of its own.
func (m *message) inJSON(name string) *field {
	if f := m.byName[name]; f != nil && f.json == name {
		return f
	}
	return nil
}

// integer reports whether k holds every number of a request; unsigned ones hold those that there are.
func (k kind) integer() bool { return kindInt32 <= k && k <= kindSfixed64 }

func (m *message) lacks(what string) error {
	return fault.New(fault.Invalid, "schema: message "+m.name+" has "+what)
}
