package packet

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"
)

// decode reads what we wrote with another codec.
func decode(t *testing.T, v Version, b []byte) packets.Packet {
	t.Helper()
	h, body := split(t, b)
	pk := packets.Packet{ProtocolVersion: byte(v)}
	if err := pk.FixedHeader.Decode(b[0]); err != nil {
		t.Fatal(err)
	}
	pk.FixedHeader.Remaining = h.Length
	var err error
	switch h.Type {
	case CONNACK:
		err = pk.ConnackDecode(body)
	case PUBLISH:
		err = pk.PublishDecode(body)
	case PUBACK:
		err = pk.PubackDecode(body)
	case PUBREC:
		err = pk.PubrecDecode(body)
	case PUBCOMP:
		err = pk.PubcompDecode(body)
	case SUBACK:
		err = pk.SubackDecode(body)
	case UNSUBACK:
		err = pk.UnsubackDecode(body)
	case PINGRESP:
		err = pk.PingrespDecode(body)
	case DISCONNECT:
		err = pk.DisconnectDecode(body)
	default:
		t.Fatalf("type %d", h.Type)
	}
	if err != nil {
		t.Fatal(err)
	}
	return pk
}

func TestAppendConnack(t *testing.T) {
	c := Connack{ReceiveMaximum: 256, MaximumPacketSize: 65541, KeepAlive: 400, ClientID: "assigned", NoSessionExpiry: true}
	p := decode(t, V5, AppendConnack(nil, V5, c)).Properties
	want := packets.Properties{
		ReceiveMaximum: 256, MaximumPacketSize: 65541, MaximumQos: 1, MaximumQosFlag: true, SubIDAvailableFlag: true, SharedSubAvailableFlag: true,
		ServerKeepAlive: 400, ServerKeepAliveFlag: true, AssignedClientID: "assigned", SessionExpiryIntervalFlag: true,
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for reason, code := range map[Reason]byte{
		Success: 0, ClientIdentifierNotValid: 2, ServerUnavailable: 3, ConnectionRateExceeded: 3, BadUserNameOrPassword: 5, NotAuthorized: 5,
	} {
		if got := decode(t, V311, AppendConnack(nil, V311, Connack{Reason: reason})); got.ReasonCode != code || got.SessionPresent {
			t.Errorf("%#x before 5: %#x, want %#x", reason, got.ReasonCode, code)
		}
		if got := decode(t, V5, AppendConnack(nil, V5, Connack{Reason: reason})); got.ReasonCode != byte(reason) {
			t.Errorf("%#x at 5: %#x", reason, got.ReasonCode)
		}
	}
}

func TestAppendAcks(t *testing.T) {
	for _, kind := range []Type{PUBACK, PUBREC, PUBCOMP} {
		if got := decode(t, V311, AppendAck(nil, V311, kind, 300, QuotaExceeded)); got.PacketID != 300 || got.ReasonCode != 0 {
			t.Errorf("%d before 5: %d, %#x", kind, got.PacketID, got.ReasonCode)
		}
		if got := decode(t, V5, AppendAck(nil, V5, kind, 300, QuotaExceeded)); got.PacketID != 300 || got.ReasonCode != 0x97 {
			t.Errorf("%d at 5: %d, %#x", kind, got.PacketID, got.ReasonCode)
		}
	}
	for _, v := range []Version{V311, V5} {
		if got := decode(t, v, AppendSuback(nil, v, 9, []byte{1, 0x80})); got.PacketID != 9 || !bytes.Equal(got.ReasonCodes, []byte{1, 0x80}) {
			t.Errorf("SUBACK %+v", got)
		}
		if got := decode(t, v, AppendUnsuback(nil, v, 9, []byte{0, 0x11})); got.PacketID != 9 || v == V5 && !bytes.Equal(got.ReasonCodes, []byte{0, 0x11}) {
			t.Errorf("UNSUBACK %+v", got)
		}
	}
	decode(t, V311, AppendPingresp(nil))
	if got := decode(t, V5, AppendDisconnect(nil, SessionTakenOver)); got.ReasonCode != 0x8E {
		t.Errorf("DISCONNECT %#x", got.ReasonCode)
	}
}

func TestAppendPublish(t *testing.T) {
	for _, v := range []Version{V31, V311, V5} {
		for qos := range byte(2) {
			for _, size := range []int{0, 100, 200, 20000} {
				payload := bytes.Repeat([]byte("x"), size)
				b := AppendPublish([]byte("before"), v, qos, 77, "a/b", payload)[len("before"):]
				if len(b) != PublishSize(v, qos, "a/b", payload) {
					t.Errorf("%d bytes, announced %d", len(b), PublishSize(v, qos, "a/b", payload))
				}
				got := decode(t, v, b)
				if got.TopicName != "a/b" || !bytes.Equal(got.Payload, payload) || got.FixedHeader.Qos != qos || qos > 0 && got.PacketID != 77 {
					t.Errorf("%+v", got)
				}
			}
		}
	}
}
