// Package packet is MQTT's wire format: 3.1 (IBM/Eurotech V3.1), 3.1.1 and 5.0 (OASIS). What is
// parsed points into the bytes it was parsed from and is valid as long as those are; what is
// encoded is appended. It reads what clients send and writes what a server sends, no more.
package packet

// Version is the protocol level of CONNECT.
type Version byte

// The versions.
const (
	V31  Version = 3
	V311 Version = 4
	V5   Version = 5
)

// Type is a control packet type (MQTT 5 §2.1.2).
type Type byte

// The control packet types.
const (
	CONNECT Type = 1 + iota
	CONNACK
	PUBLISH
	PUBACK
	PUBREC
	PUBREL
	PUBCOMP
	SUBSCRIBE
	SUBACK
	UNSUBSCRIBE
	UNSUBACK
	PINGREQ
	PINGRESP
	DISCONNECT
	AUTH
)

// Reason is an MQTT 5 reason code (§2.4). Earlier versions see few of them: ConnectCode.
type Reason byte

// The reason codes that are sent or looked at.
const (
	Success                  Reason = 0x00
	NoSubscriptionExisted    Reason = 0x11
	UnspecifiedError         Reason = 0x80
	MalformedPacket          Reason = 0x81
	ProtocolError            Reason = 0x82
	ImplementationError      Reason = 0x83
	ClientIdentifierNotValid Reason = 0x85
	BadUserNameOrPassword    Reason = 0x86
	NotAuthorized            Reason = 0x87
	ServerUnavailable        Reason = 0x88
	ServerBusy               Reason = 0x89
	ServerShuttingDown       Reason = 0x8B
	BadAuthenticationMethod  Reason = 0x8C
	KeepAliveTimeout         Reason = 0x8D
	SessionTakenOver         Reason = 0x8E
	TopicFilterInvalid       Reason = 0x8F
	TopicNameInvalid         Reason = 0x90
	TopicAliasInvalid        Reason = 0x94
	PacketTooLarge           Reason = 0x95
	QuotaExceeded            Reason = 0x97
	AdministrativeAction     Reason = 0x98
	PayloadFormatInvalid     Reason = 0x99
	QoSNotSupported          Reason = 0x9B
	UseAnotherServer         Reason = 0x9C
	ConnectionRateExceeded   Reason = 0x9F
)

// Error says what is wrong with a client's bytes, and which reason code tells it so.
type Error struct {
	Reason Reason
	Text   string
}

func (e *Error) Error() string { return e.Text }

// What can be wrong with a client's bytes. ErrShort is no fault: more bytes are needed.
var (
	ErrShort       = &Error{MalformedPacket, "packet is not complete"}
	ErrLength      = &Error{MalformedPacket, "remaining length takes more than four bytes"}
	ErrFlags       = &Error{MalformedPacket, "reserved flags are set"}
	ErrTruncated   = &Error{MalformedPacket, "packet ends within a field"}
	ErrTrailing    = &Error{MalformedPacket, "packet goes on after its last field"}
	ErrText        = &Error{MalformedPacket, "text is not UTF-8, or holds a null character"}
	ErrTopic       = &Error{MalformedPacket, "topic name is empty or holds a wildcard"}
	ErrQoS         = &Error{MalformedPacket, "quality of service of 3"}
	ErrProperty    = &Error{MalformedPacket, "property does not belong here, or is unknown"}
	ErrPropertyDup = &Error{ProtocolError, "property is given twice, or with a value that is not allowed"}
	ErrPacketID    = &Error{ProtocolError, "packet identifier of 0"}
	ErrNoFilter    = &Error{ProtocolError, "no topic filter is given"}
	ErrFilter      = &Error{ProtocolError, "subscription options are not allowed"}
	ErrType        = &Error{ProtocolError, "packet is not one that clients send"}
	ErrVersion     = &Error{ProtocolError, "unknown protocol name or level"}
	ErrClientID    = &Error{ClientIdentifierNotValid, "client identifier of MQTT 3.1 has 1 to 23 characters"}
	ErrAlias       = &Error{TopicAliasInvalid, "topic alias of 0"}
)

// Header is a fixed header (§2.1). The packet takes Size bytes for it and Length more.
type Header struct {
	Type   Type
	Flags  byte
	Size   int
	Length int
}

// ReadHeader reads the fixed header that b begins with. It is ErrShort until all of the header is
// there; the flags are checked as far as all versions agree on them.
func ReadHeader(b []byte) (Header, *Error) {
	if len(b) < 2 {
		return Header{}, ErrShort
	}
	h := Header{Type: Type(b[0] >> 4), Flags: b[0] & 0x0f}
	for i := 1; ; i++ {
		if i == 5 {
			return Header{}, ErrLength
		}
		if i == len(b) {
			return Header{}, ErrShort
		}
		h.Length |= int(b[i]&0x7f) << (7 * (i - 1))
		if b[i] < 0x80 {
			h.Size = i + 1
			return h, nil
		}
	}
}

// CheckFlags checks the flags of every type but PUBLISH (§2.1.3). MQTT 3.1 knew DUP on more
// packets than PUBLISH, so there it is not looked at.
func (h Header) CheckFlags(v Version) *Error {
	flags := h.Flags
	if v == V31 {
		flags &^= 0x08
	}
	want := byte(0)
	switch h.Type {
	case PUBLISH:
		return nil
	case PUBREL, SUBSCRIBE, UNSUBSCRIBE:
		want = 0x02
	}
	if flags != want {
		return ErrFlags
	}
	return nil
}
