package telemetry

import (
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
)

// ToProto returns values as messages, for the calls that are not on the message path.
func ToProto(values []KeyValue) []*sluicepb.KeyValue {
	if len(values) == 0 {
		return nil
	}
	out := make([]*sluicepb.KeyValue, len(values))
	for i := range values {
		out[i] = values[i].proto()
	}
	return out
}

// FromProto is ToProto's inverse. A message without a value becomes the Value of Kind None.
func FromProto(values []*sluicepb.KeyValue) []KeyValue {
	if len(values) == 0 {
		return nil
	}
	out := make([]KeyValue, len(values))
	for i, kv := range values {
		out[i] = fromProto(kv)
	}
	return out
}

func (kv *KeyValue) proto() *sluicepb.KeyValue {
	out := &sluicepb.KeyValue{Key: kv.Key}
	switch kv.Kind {
	case Bool:
		out.Value = &sluicepb.KeyValue_BoolValue{BoolValue: kv.Bool()}
	case Long:
		out.Value = &sluicepb.KeyValue_LongValue{LongValue: kv.Long()}
	case Double:
		out.Value = &sluicepb.KeyValue_DoubleValue{DoubleValue: kv.Double()}
	case String:
		out.Value = &sluicepb.KeyValue_StringValue{StringValue: kv.text}
	case JSON:
		out.Value = &sluicepb.KeyValue_JsonValue{JsonValue: kv.text}
	}
	return out
}

func fromProto(kv *sluicepb.KeyValue) KeyValue {
	out := KeyValue{Key: kv.GetKey()}
	switch v := kv.GetValue().(type) {
	case *sluicepb.KeyValue_BoolValue:
		out.Value = OfBool(v.BoolValue)
	case *sluicepb.KeyValue_LongValue:
		out.Value = OfLong(v.LongValue)
	case *sluicepb.KeyValue_DoubleValue:
		out.Value = OfDouble(v.DoubleValue)
	case *sluicepb.KeyValue_StringValue:
		out.Value = OfString(v.StringValue)
	case *sluicepb.KeyValue_JsonValue:
		out.Value = OfJSON(v.JsonValue)
	}
	return out
}
