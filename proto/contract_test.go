// Package proto_test holds the wire to its word: it is a contract between versions of Sluice that
// run side by side and read each other's records.
package proto_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
)

var update = flag.Bool("update", false, "write the golden files that are missing")

// messages returns every message type of the contracts.
func messages(t *testing.T) []protoreflect.MessageType {
	t.Helper()
	var found []protoreflect.MessageType
	home := sluicepb.File_device_uplink_proto.Package()
	protoregistry.GlobalTypes.RangeMessages(func(m protoreflect.MessageType) bool {
		if m.Descriptor().ParentFile().Package() == home && !m.Descriptor().IsMapEntry() {
			found = append(found, m)
		}
		return true
	})
	if len(found) < 20 {
		t.Fatalf("only %d messages found", len(found))
	}
	return found
}

// A record may pass through a process older than its writer; what that process does not know must survive.
func TestUnknownFieldsSurvive(t *testing.T) {
	unknown := protowire.AppendTag(nil, 15000, protowire.BytesType)
	unknown = protowire.AppendString(unknown, "from a later version")
	unknown = protowire.AppendTag(unknown, 15001, protowire.VarintType)
	unknown = protowire.AppendVarint(unknown, 42)
	for _, kind := range messages(t) {
		t.Run(string(kind.Descriptor().Name()), func(t *testing.T) {
			known := fill(kind.New())
			sent := append(encode(t, known), unknown...)
			got := kind.New().Interface()
			if err := proto.Unmarshal(sent, got); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.ProtoReflect().GetUnknown(), unknown) {
				t.Error("the unknown fields were lost in reading")
			}
			if again := encode(t, got); !bytes.Equal(sent, again) {
				t.Errorf("read and written again:\n%x, want\n%x", again, sent)
			}
		})
	}
}

// What was written when a message was first golden still reads, every field of it.
func TestGoldenMessagesStillDecode(t *testing.T) {
	for _, kind := range messages(t) {
		name := string(kind.Descriptor().Name())
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", "golden", name+".hex")
			if _, err := os.Stat(path); *update && os.IsNotExist(err) {
				write(t, path, encode(t, fill(kind.New())))
			}
			golden := read(t, path)
			got := kind.New()
			if err := proto.Unmarshal(golden, got.Interface()); err != nil {
				t.Fatal(err)
			}
			if unknown := got.GetUnknown(); len(unknown) > 0 {
				t.Errorf("fields that were known once are not any more: %x", unknown)
			}
			if again := encode(t, got.Interface()); !bytes.Equal(golden, again) {
				t.Errorf("reads as something else; written again:\n%x, want\n%x", again, golden)
			}
		})
	}
}

func encode(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (a new message gets its golden file by -update)", err)
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(hex.EncodeToString(b)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fill sets every field (of a oneof, the last) to something that is not its zero value and not
// its neighbour's.
func fill(m protoreflect.Message) proto.Message {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.IsMap():
			entries := m.Mutable(f).Map()
			entries.Set(protoreflect.ValueOfString("name").MapKey(), scalar(f.MapValue()))
		case f.IsList() && f.Message() != nil:
			list := m.Mutable(f).List()
			list.Append(protoreflect.ValueOfMessage(fill(list.NewElement().Message()).ProtoReflect()))
		case f.IsList():
			m.Mutable(f).List().Append(scalar(f))
		case f.Message() != nil:
			fill(m.Mutable(f).Message())
		default:
			m.Set(f, scalar(f))
		}
	}
	return m.Interface()
}

func scalar(f protoreflect.FieldDescriptor) protoreflect.Value {
	n := int64(f.Number()) + 100
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(f.Enum().Values().Get(f.Enum().Values().Len() - 1).Number())
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(n))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(n) << 20)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(n) + 0.5)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("text of " + string(f.Name()))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(bytes.Repeat([]byte{byte(n)}, 16))
	default:
		return protoreflect.ValueOfInt64(n << 20)
	}
}
