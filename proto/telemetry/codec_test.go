package telemetry

import (
	"bytes"
	"encoding/hex"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
)

func id(b byte) ident.ID { return ident.ID(bytes.Repeat([]byte{b}, 16)) }

func sample() Uplink {
	return Uplink{
		Tenant: ident.TenantID{ID: id(1)}, Device: ident.DeviceID{ID: id(2)},
		Customer: ident.CustomerID{ID: id(3)}, Profile: id(4),
		DeviceName: "Thermostat ü", DeviceType: "default", ID: MessageID(id(5)),
		ReceivedAt: 1634712287000123, Transport: "MQTT", Topic: "v1/devices/me/telemetry",
		Telemetry: []Record{
			{Time: 1634712287000, OwnTime: true, Values: []KeyValue{
				{"temperature", OfDouble(21.5)},
				{"on", OfBool(true)},
				{"off", OfBool(false)},
				{"n", OfLong(-5)},
				{"zero", OfLong(0)},
				{"s", OfString("x")},
				{"empty", OfString("")},
				{"j", OfJSON(`{"a":[1]}`)},
			}},
			{Time: -1, Values: []KeyValue{{"nan", OfDouble(math.NaN())}, {"", OfDouble(0)}}},
			{},
		},
		Attributes: []KeyValue{{"fw", OfString("1.0x")}, {Key: "none"}},
	}
}

// generated is u as the generated code has it.
func generated(u *Uplink) *sluicepb.DeviceUplink {
	m := &sluicepb.DeviceUplink{
		TenantId: bytesOf(u.Tenant.ID), DeviceId: bytesOf(u.Device.ID), CustomerId: bytesOf(u.Customer.ID),
		DeviceProfileId: bytesOf(u.Profile), DeviceName: u.DeviceName, DeviceType: u.DeviceType,
		MessageId: bytesOf(ident.ID(u.ID)), ReceivedAtUs: u.ReceivedAt, Transport: u.Transport, Topic: u.Topic,
	}
	for _, r := range u.Telemetry {
		m.Telemetry = append(m.Telemetry, &sluicepb.TelemetryRecord{TimeMs: r.Time, OwnTime: r.OwnTime, Values: ToProto(r.Values)})
	}
	if len(u.Attributes) > 0 {
		m.Attributes = &sluicepb.AttributesUpload{Values: ToProto(u.Attributes)}
	}
	return m
}

func bytesOf(id ident.ID) []byte {
	if id.IsZero() {
		return nil
	}
	return id[:]
}

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var samples = map[string]func() Uplink{
	"full":  sample,
	"empty": func() Uplink { return Uplink{} },
	"plain": func() Uplink {
		return Uplink{Device: ident.DeviceID{ID: id(9)}, Telemetry: []Record{{Time: 1, Values: []KeyValue{{"a", OfLong(math.MinInt64)}}}}}
	},
}

func TestWritesWhatTheGeneratedCodeWrites(t *testing.T) {
	for name, make := range samples {
		t.Run(name, func(t *testing.T) {
			u := make()
			want := marshal(t, generated(&u))
			prefix := []byte("before")
			got := AppendUplink(bytes.Clone(prefix), &u)
			if !bytes.Equal(got, append(prefix, want...)) {
				t.Errorf("got\n%x, want\n%x", got[len(prefix):], want)
			}
			if size := SizeUplink(&u); size != len(want) {
				t.Errorf("size %d, want %d", size, len(want))
			}
		})
	}
}

func TestReadsWhatTheGeneratedCodeWrites(t *testing.T) {
	var got Uplink // one for all: what an earlier uplink left must not show
	for _, name := range []string{"full", "plain", "empty", "full"} {
		u := samples[name]()
		if err := ParseUplink(marshal(t, generated(&u)), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(generated(&u), generated(&got), protocmp.Transform(), cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestSkipsWhatItDoesNotKnow(t *testing.T) {
	unknown := protowire.AppendTag(nil, 1000, protowire.BytesType)
	unknown = protowire.AppendString(unknown, "later")
	unknown = protowire.AppendTag(unknown, 1001, protowire.Fixed32Type)
	unknown = protowire.AppendFixed32(unknown, 1)
	unknown = protowire.AppendTag(unknown, 1002, protowire.StartGroupType)
	unknown = protowire.AppendTag(unknown, 1002, protowire.EndGroupType)
	// Known numbers of another type are unknown fields too.
	unknown = protowire.AppendTag(unknown, fieldTenant, protowire.VarintType)
	unknown = protowire.AppendVarint(unknown, 7)
	unknown = protowire.AppendTag(unknown, fieldReceivedAt, protowire.BytesType)
	unknown = protowire.AppendString(unknown, "x")

	u := sample()
	m := generated(&u)
	m.ProtoReflect().SetUnknown(unknown)
	m.Telemetry[0].ProtoReflect().SetUnknown(unknown[:8])
	m.Telemetry[0].Values[0].ProtoReflect().SetUnknown(unknown[:8])
	m.Attributes.ProtoReflect().SetUnknown(unknown[:8])
	var got Uplink
	if err := ParseUplink(marshal(t, m), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(generated(&u), generated(&got), protocmp.Transform(), cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The golden uplink is what the version that introduced the codec wrote.
func TestGoldenUplinkStillDecodes(t *testing.T) {
	text, err := os.ReadFile("testdata/uplink.hex")
	if err != nil {
		t.Fatal(err)
	}
	golden, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	var got Uplink
	if err := ParseUplink(golden, &got); err != nil {
		t.Fatal(err)
	}
	u := sample()
	if diff := cmp.Diff(generated(&u), generated(&got), protocmp.Transform(), cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if again := AppendUplink(nil, &got); !bytes.Equal(golden, again) {
		t.Errorf("written again it is\n%x", again)
	}
}

func TestRefusesWhatIsNoUplink(t *testing.T) {
	u := sample()
	whole := AppendUplink(nil, &u)
	var got Uplink
	broken := map[string][]byte{
		"id of 3 bytes":  {0x12, 3, 1, 2, 3},
		"text not UTF-8": {0x2a, 1, 0xff},
		"key not UTF-8":  {0x62, 5, 0x0a, 3, 0x0a, 1, 0xff},
		"field number 0": {0x02, 0},
		"open group":     {0x0b},
	}
	for name, data := range broken {
		if err := ParseUplink(data, &got); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	for n := range whole {
		// Cut between two fields it is a shorter uplink; cut anywhere else it is none.
		err := ParseUplink(whole[:n], &got)
		if generatedErr := proto.Unmarshal(whole[:n], &sluicepb.DeviceUplink{}); (err == nil) != (generatedErr == nil) {
			t.Errorf("cut at %d: %v, generated code: %v", n, err, generatedErr)
		}
	}
}

func TestConversionsAreInverse(t *testing.T) {
	u := sample()
	for _, values := range [][]KeyValue{u.Telemetry[0].Values, u.Attributes, nil} {
		if diff := cmp.Diff(values, FromProto(ToProto(values)), cmp.Comparer(func(a, b Value) bool { return a == b })); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// FuzzParseUplink holds the codec against the generated code: both take the same bytes and
// understand the same by them.
func FuzzParseUplink(f *testing.F) {
	for _, make := range samples {
		u := make()
		f.Add(AppendUplink(nil, &u))
	}
	f.Add([]byte{0x0b, 0x0c})
	f.Add([]byte{0x62, 2, 0x0a, 0, 0x62, 2, 0x0a, 0})
	var u Uplink
	f.Fuzz(func(t *testing.T, data []byte) {
		m := &sluicepb.DeviceUplink{}
		wantErr := proto.Unmarshal(data, m)
		err := ParseUplink(data, &u)
		for _, id := range [][]byte{m.GetTenantId(), m.GetDeviceId(), m.GetCustomerId(), m.GetDeviceProfileId(), m.GetMessageId()} {
			if len(id) != 0 && len(id) != 16 {
				return // refused, while bytes are bytes to the generated code
			}
		}
		if err != nil {
			if wantErr == nil && !strings.Contains(err.Error(), "want 16") {
				t.Fatalf("refused (%v) what the generated code takes", err)
			}
			return
		}
		if wantErr != nil {
			t.Fatalf("took what the generated code refuses (%v)", wantErr)
		}
		again := AppendUplink(nil, &u)
		if len(again) != SizeUplink(&u) {
			t.Fatalf("size %d, want %d", SizeUplink(&u), len(again))
		}
		got := &sluicepb.DeviceUplink{}
		if err := proto.Unmarshal(again, got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(known(m), got, protocmp.Transform(), cmpopts.EquateNaNs()); diff != "" {
			t.Fatalf("(-generated +ours):\n%s", diff)
		}
	})
}

// known is m without what the codec does not keep: unknown fields, all-zero ids, an empty
// attributes message.
func known(m *sluicepb.DeviceUplink) *sluicepb.DeviceUplink {
	out := &sluicepb.DeviceUplink{}
	_ = proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(mustMarshal(m), out)
	for _, id := range []*[]byte{&out.TenantId, &out.DeviceId, &out.CustomerId, &out.DeviceProfileId, &out.MessageId} {
		if bytes.Equal(*id, make([]byte, 16)) {
			*id = nil
		}
	}
	if len(out.GetAttributes().GetValues()) == 0 {
		out.Attributes = nil
	}
	return out
}

func mustMarshal(m proto.Message) []byte {
	b, _ := proto.Marshal(m)
	return b
}

func BenchmarkAppendUplink(b *testing.B) {
	u := benchUplink()
	buffer := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buffer = AppendUplink(buffer[:0], &u)
	}
}

func BenchmarkParseUplink(b *testing.B) {
	u := benchUplink()
	data := AppendUplink(nil, &u)
	var got Uplink
	b.ReportAllocs()
	for b.Loop() {
		if err := ParseUplink(data, &got); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGeneratedUnmarshal is what the codec is held against.
func BenchmarkGeneratedUnmarshal(b *testing.B) {
	u := benchUplink()
	data := AppendUplink(nil, &u)
	b.ReportAllocs()
	for b.Loop() {
		var m sluicepb.DeviceUplink
		if err := proto.Unmarshal(data, &m); err != nil {
			b.Fatal(err)
		}
	}
}

func benchUplink() Uplink {
	u := sample()
	u.Attributes, u.Telemetry = nil, u.Telemetry[:1]
	u.Telemetry[0].Values = u.Telemetry[0].Values[:4]
	return u
}
