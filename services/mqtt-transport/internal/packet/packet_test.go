package packet

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"
)

// encode returns pk as another codec writes it.
func encode(t testing.TB, v Version, pk packets.Packet) []byte {
	t.Helper()
	pk.ProtocolVersion = byte(v)
	var b bytes.Buffer
	var err error
	switch pk.FixedHeader.Type {
	case packets.Connect:
		err = pk.ConnectEncode(&b)
	case packets.Publish:
		err = pk.PublishEncode(&b)
	case packets.Puback:
		err = pk.PubackEncode(&b)
	case packets.Subscribe:
		err = pk.SubscribeEncode(&b)
	case packets.Unsubscribe:
		err = pk.UnsubscribeEncode(&b)
	case packets.Disconnect:
		err = pk.DisconnectEncode(&b)
	default:
		err = errors.New("no such packet here")
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// split reads the header of a complete packet.
func split(t testing.TB, b []byte) (Header, []byte) {
	t.Helper()
	h, err := ReadHeader(b)
	if err != nil || h.Size+h.Length != len(b) {
		t.Fatalf("header %+v (%v) of a packet of %d bytes", h, err, len(b))
	}
	return h, b[h.Size:]
}

func header(kind byte) packets.FixedHeader { return packets.FixedHeader{Type: kind} }

func connectPacket() packets.Packet {
	return packets.Packet{
		FixedHeader: header(packets.Connect),
		Connect: packets.ConnectParams{
			ProtocolName: []byte("MQTT"), ClientIdentifier: "zen", Keepalive: 30, Clean: true,
			UsernameFlag: true, Username: []byte("user"), PasswordFlag: true, Password: []byte{0, 1, 2},
			WillFlag: true, WillQos: 1, WillRetain: true, WillTopic: "will", WillPayload: []byte("gone"),
			WillProperties: packets.Properties{WillDelayInterval: 3, ContentType: "text"},
		},
		Properties: packets.Properties{
			SessionExpiryInterval: 3600, SessionExpiryIntervalFlag: true, ReceiveMaximum: 20, MaximumPacketSize: 5000,
			TopicAliasMaximum: 7, User: []packets.UserProperty{{Key: "a", Val: "1"}, {Key: "a", Val: "2"}}, AuthenticationMethod: "SCRAM",
		},
	}
}

func TestConnect(t *testing.T) {
	for _, v := range []Version{V311, V5} {
		want := Connect{
			Version: v, Clean: true, KeepAlive: 30, ClientID: []byte("zen"), Username: []byte("user"), Password: []byte{0, 1, 2},
			HasUsername: true, HasPassword: true,
		}
		if v == V5 {
			want.SessionExpiry, want.ReceiveMaximum, want.MaximumPacketSize, want.ExtendedAuth = 3600, 20, 5000, true
		}
		_, body := split(t, encode(t, v, connectPacket()))
		got, err := ParseConnect(body)
		if err != nil {
			t.Fatalf("version %d: %v", v, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("version %d (-want +got):\n%s", v, diff)
		}
	}
	old := connectPacket()
	old.Connect.ProtocolName = []byte("MQIsdp")
	_, body := split(t, encode(t, V31, old))
	if got, err := ParseConnect(body); err != nil || string(got.ClientID) != "zen" {
		t.Errorf("3.1: %+v (%v)", got, err)
	}
}

func TestConnectRefused(t *testing.T) {
	body := func(name string, level, flags byte, rest string) []byte {
		b := append([]byte{0, byte(len(name))}, name...)
		return append(append(b, level, flags, 0, 0), rest...)
	}
	for name, row := range map[string]struct {
		body []byte
		want *Error
	}{
		"level 9":                {body("MQTT", 9, 0, "\x00\x01a"), ErrVersion},
		"name of 3.1 with 3.1.1": {body("MQIsdp", 4, 0, "\x00\x01a"), ErrVersion},
		"other name":             {body("HTTP", 4, 0, "\x00\x01a"), ErrVersion},
		"reserved flag":          {body("MQTT", 4, 1, "\x00\x01a"), ErrFlags},
		"will qos without will":  {body("MQTT", 4, 8, "\x00\x01a"), ErrFlags},
		"will qos 3":             {body("MQTT", 4, 4|24, "\x00\x01a\x00\x00\x00\x00"), ErrQoS},
		"3.1 without id":         {body("MQIsdp", 3, 0, "\x00\x00"), ErrClientID},
		"3.1 long id":            {body("MQIsdp", 3, 0, "\x00\x18"+strings.Repeat("x", 24)), ErrClientID},
		"trailing":               {body("MQTT", 4, 0, "\x00\x01ab"), ErrTrailing},
		"not UTF-8":              {body("MQTT", 4, 0, "\x00\x01\xff"), ErrText},
		"null character":         {body("MQTT", 4, 0, "\x00\x01\x00"), ErrText},
		"user name missing":      {body("MQTT", 4, 128, "\x00\x01a"), ErrTruncated},
		"property twice":         {body("MQTT", 5, 0, "\x06\x21\x00\x01\x21\x00\x01\x00\x01a"), ErrPropertyDup},
		"property of another":    {body("MQTT", 5, 0, "\x03\x23\x00\x01\x00\x01a"), ErrProperty},
		"receive maximum 0":      {body("MQTT", 5, 0, "\x03\x21\x00\x00\x00\x01a"), ErrPropertyDup},
		"properties too long":    {body("MQTT", 5, 0, "\x7f\x21\x00\x01"), ErrTruncated},
	} {
		if _, err := ParseConnect(row.body); err != row.want {
			t.Errorf("%s: %v, want %v", name, err, row.want)
		}
	}
}

func TestPublish(t *testing.T) {
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 2, Dup: true, Retain: true}, PacketID: 513,
		TopicName: "a/b", Payload: []byte(`{"t":1}`),
		Properties: packets.Properties{
			TopicAlias: 4, TopicAliasFlag: true, PayloadFormat: 1, PayloadFormatFlag: true, MessageExpiryInterval: 9, ContentType: "json",
			ResponseTopic: "r", CorrelationData: []byte{1}, User: []packets.UserProperty{{Key: "k", Val: "v"}},
		},
	}
	for _, v := range []Version{V31, V311, V5} {
		want := Publish{Topic: []byte("a/b"), Payload: []byte(`{"t":1}`), ID: 513, QoS: 2, Duplicate: true}
		if v == V5 {
			want.Alias = 4
		}
		h, body := split(t, encode(t, v, pk))
		got, err := ParsePublish(v, h.Flags, body)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("version %d (-want +got):\n%s", v, diff)
		}
	}
}

func TestPublishRefused(t *testing.T) {
	for name, row := range map[string]struct {
		v     Version
		flags byte
		body  string
		want  *Error
	}{
		"qos 3":            {V311, 6, "\x00\x01a\x00\x01", ErrQoS},
		"packet id 0":      {V311, 2, "\x00\x01a\x00\x00", ErrPacketID},
		"no packet id":     {V311, 2, "\x00\x01a", ErrTruncated},
		"wildcard +":       {V311, 0, "\x00\x03a/+", ErrTopic},
		"wildcard #":       {V5, 0, "\x00\x03a/#\x00", ErrTopic},
		"empty topic":      {V311, 0, "\x00\x00", ErrTopic},
		"topic not UTF-8":  {V311, 0, "\x00\x01\xc0", ErrText},
		"alias 0":          {V5, 0, "\x00\x01a\x03\x23\x00\x00", ErrAlias},
		"subscription ids": {V5, 0, "\x00\x01a\x02\x0b\x01", ErrProperty},
		"format 2":         {V5, 0, "\x00\x01a\x02\x01\x02", ErrPropertyDup},
	} {
		if _, err := ParsePublish(row.v, row.flags, []byte(row.body)); err != row.want {
			t.Errorf("%s: %v, want %v", name, err, row.want)
		}
	}
	if p, err := ParsePublish(V5, 0, []byte("\x00\x00\x03\x23\x00\x01")); err != nil || p.Alias != 1 || len(p.Topic) != 0 {
		t.Errorf("alias in place of a topic: %+v (%v)", p, err)
	}
}

func TestSubscribeAndUnsubscribe(t *testing.T) {
	type filter struct {
		Text string
		QoS  byte
	}
	list := func(s Filters) (all []filter) {
		for text, qos := range s.All() {
			all = append(all, filter{string(text), qos})
		}
		return all
	}
	pk := packets.Packet{PacketID: 7, Filters: packets.Subscriptions{
		{Filter: "a/+", Qos: 2, NoLocal: true, RetainHandling: 1}, {Filter: "b", Qos: 0},
	}}
	for _, v := range []Version{V311, V5} {
		pk.FixedHeader = packets.FixedHeader{Type: packets.Subscribe, Qos: 1}
		h, body := split(t, encode(t, v, pk))
		if err := h.CheckFlags(v); err != nil {
			t.Error(err)
		}
		s, err := ParseSubscribe(v, body)
		if diff := cmp.Diff([]filter{{"a/+", 2}, {"b", 0}}, list(s)); err != nil || s.ID != 7 || diff != "" {
			t.Errorf("SUBSCRIBE %d (%v): %s", s.ID, err, diff)
		}
		pk.FixedHeader.Type = packets.Unsubscribe
		_, body = split(t, encode(t, v, pk))
		s, err = ParseUnsubscribe(v, body)
		if diff := cmp.Diff([]filter{{"a/+", 0}, {"b", 0}}, list(s)); err != nil || s.ID != 7 || diff != "" {
			t.Errorf("UNSUBSCRIBE %d (%v): %s", s.ID, err, diff)
		}
	}
	for name, row := range map[string]struct {
		v    Version
		body string
		want *Error
	}{
		"no filter":           {V311, "\x00\x01", ErrNoFilter},
		"empty filter":        {V311, "\x00\x01\x00\x00\x00", ErrTopic},
		"no options":          {V311, "\x00\x01\x00\x01a", ErrTruncated},
		"qos 3":               {V311, "\x00\x01\x00\x01a\x03", ErrQoS},
		"options of 5 at 4":   {V311, "\x00\x01\x00\x01a\x04", ErrFlags},
		"reserved at 5":       {V5, "\x00\x01\x00\x00\x01a\x40", ErrFlags},
		"handling 3":          {V5, "\x00\x01\x00\x00\x01a\x30", ErrFilter},
		"shared and no local": {V5, "\x00\x01\x00\x00\x0a$share/g/a\x04", ErrFilter},
	} {
		if _, err := ParseSubscribe(row.v, []byte(row.body)); err != row.want {
			t.Errorf("%s: %v, want %v", name, err, row.want)
		}
	}
}

func TestHeader(t *testing.T) {
	for _, row := range []struct {
		in   string
		want Header
		err  *Error
	}{
		{"\xc0\x00", Header{PINGREQ, 0, 2, 0}, nil},
		{"\x3d\xff\x7f", Header{PUBLISH, 13, 3, 16383}, nil},
		{"\x30\xff\xff\xff\x7f", Header{PUBLISH, 0, 5, 268435455}, nil},
		{"\x30\xff\xff\xff\xff", Header{}, ErrLength},
		{"\x30", Header{}, ErrShort},
		{"\x30\x80", Header{}, ErrShort},
		{"", Header{}, ErrShort},
	} {
		if got, err := ReadHeader([]byte(row.in)); got != row.want || err != row.err {
			t.Errorf("% x: %+v (%v), want %+v (%v)", row.in, got, err, row.want, row.err)
		}
	}
	for _, row := range []struct {
		h  Header
		v  Version
		ok bool
	}{
		{Header{Type: PINGREQ}, V311, true},
		{Header{Type: PINGREQ, Flags: 1}, V311, false},
		{Header{Type: PUBREL, Flags: 2}, V5, true},
		{Header{Type: PUBREL}, V5, false},
		{Header{Type: SUBSCRIBE, Flags: 10}, V31, true},
		{Header{Type: SUBSCRIBE, Flags: 10}, V311, false},
		{Header{Type: PUBLISH, Flags: 15}, V311, true},
	} {
		if err := row.h.CheckFlags(row.v); (err == nil) != row.ok {
			t.Errorf("%+v at %d: %v", row.h, row.v, err)
		}
	}
}
