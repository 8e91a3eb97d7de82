// Package form is how what devices are sent is written: as JSON, or, for devices whose profile says so, as protobuf.
package form

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/payload"
)

// Protobuf reports whether d is sent protobuf.
func Protobuf(d *transport.Device) bool { return d.Options().GetProtobuf() }

// Attributes is the answer to d's reading of attributes.
func Attributes(d *transport.Device, client, shared []telemetry.KeyValue) []byte {
	if Protobuf(d) {
		return encoded(payload.AttributesResponse(0, client, shared, true))
	}
	return payload.AppendAttributes(nil, client, shared)
}

// Shared is what d is sent first when it observes its attributes.
func Shared(d *transport.Device, shared []telemetry.KeyValue) []byte {
	if Protobuf(d) {
		m := payload.AttributesResponse(0, nil, shared, false)
		m.SharedState = true
		return encoded(m)
	}
	return payload.AppendValues(nil, shared)
}

// Updated is the notification that attributes changed.
func Updated(d *transport.Device, values []telemetry.KeyValue) []byte {
	if Protobuf(d) {
		return encoded(payload.AttributesUpdate(values, nil))
	}
	return payload.AppendValues(nil, values)
}

// Deleted is the notification that attributes are gone.
func Deleted(d *transport.Device, keys []string) []byte {
	if Protobuf(d) {
		return encoded(payload.AttributesUpdate(nil, keys))
	}
	return payload.AppendDeleted(nil, keys)
}

// Request is a request of the platform to a device, as JSON: {"id":…,"method":…,"params":…}.
func Request(r transport.RPCRequest) []byte {
	body := strconv.AppendInt([]byte(`{"id":`), int64(r.ID), 10)
	body = payload.AppendText(append(body, `,"method":`...), r.Method)
	params := r.Params
	if params == "" {
		params = "null"
	}
	return append(append(append(body, `,"params":`...), params...), '}')
}

// Answer is what d's own request is answered.
func Answer(d *transport.Device, answer string) []byte {
	if Protobuf(d) {
		return encoded(payload.RPCAnswer(0, answer))
	}
	return []byte(answer)
}

var errReply = fault.New(fault.Invalid, "the answer to a request must be a JSON object")

// CheckReply says what is wrong with d's answer to a request (device-api §4.1).
func CheckReply(d *transport.Device, reply []byte) error {
	if Protobuf(d) {
		return nil // it has to fit the profile's schema
	}
	if v := jsontext.Value(reply); v.Kind() != '{' || !v.IsValid() {
		return errReply
	}
	return nil
}

// encoded cannot fail: the texts of messages from the bus are UTF-8.
func encoded(m proto.Message) []byte {
	body, err := payload.Marshal(m)
	if err != nil {
		return nil
	}
	return body
}
