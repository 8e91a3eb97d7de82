package packet

import "encoding/binary"

// Connack is a CONNACK (§3.2). All but Reason is for MQTT 5, and for an accepted connection only.
type Connack struct {
	Reason            Reason
	ReceiveMaximum    uint16
	MaximumPacketSize uint32
	KeepAlive         uint16 // the server's, in place of the client's; 0 leaves the client's
	ClientID          string // assigned by the server; "" when the client has its own
	NoSessionExpiry   bool   // the client asked for a session that outlives its connection
}

// AppendConnack appends c. A session is never present. The server's limits are stated: QoS 1 at
// most, neither subscription identifiers nor shared subscriptions.
func AppendConnack(dst []byte, v Version, c Connack) []byte {
	if v != V5 {
		return append(dst, byte(CONNACK)<<4, 2, 0, connectCode(c.Reason))
	}
	if c.Reason != Success {
		return append(dst, byte(CONNACK)<<4, 3, 0, byte(c.Reason), 0)
	}
	var block [64]byte
	p := block[:0]
	p = append(p, receiveMaximum)
	p = binary.BigEndian.AppendUint16(p, c.ReceiveMaximum)
	p = append(p, maximumPacketSize)
	p = binary.BigEndian.AppendUint32(p, c.MaximumPacketSize)
	p = append(p, maximumQoS, 1, subscriptionIDs, 0, sharedSubscriptions, 0)
	if c.KeepAlive != 0 {
		p = binary.BigEndian.AppendUint16(append(p, serverKeepAlive), c.KeepAlive)
	}
	if c.NoSessionExpiry {
		p = append(p, sessionExpiry, 0, 0, 0, 0)
	}
	if c.ClientID != "" {
		p = binary.BigEndian.AppendUint16(append(p, assignedClientID), uint16(len(c.ClientID)))
		p = append(p, c.ClientID...)
	}
	dst = appendVarint(append(dst, byte(CONNACK)<<4), 2+varintSize(len(p))+len(p))
	dst = appendVarint(append(dst, 0, byte(c.Reason)), len(p))
	return append(dst, p...)
}

// connectCode is the return code that versions before 5 have for a reason (3.1.1 §3.2.2.3).
func connectCode(r Reason) byte {
	switch r {
	case Success:
		return 0
	case ClientIdentifierNotValid:
		return 2
	case BadUserNameOrPassword, NotAuthorized, BadAuthenticationMethod:
		return 5
	default:
		return 3
	}
}

// AppendAck appends a PUBACK, PUBREC, PUBREL or PUBCOMP. Only MQTT 5 sees the reason.
func AppendAck(dst []byte, v Version, t Type, id uint16, r Reason) []byte {
	first := byte(t) << 4
	if t == PUBREL {
		first |= 0x02
	}
	if v == V5 && r != Success {
		return append(dst, first, 3, byte(id>>8), byte(id), byte(r))
	}
	return append(dst, first, 2, byte(id>>8), byte(id))
}

// AppendSuback appends a SUBACK with one code per filter.
func AppendSuback(dst []byte, v Version, id uint16, codes []byte) []byte {
	return appendCodes(dst, SUBACK, v, id, codes)
}

// AppendUnsuback appends an UNSUBACK; before MQTT 5 it carries no codes.
func AppendUnsuback(dst []byte, v Version, id uint16, codes []byte) []byte {
	if v != V5 {
		codes = nil
	}
	return appendCodes(dst, UNSUBACK, v, id, codes)
}

func appendCodes(dst []byte, t Type, v Version, id uint16, codes []byte) []byte {
	length := 2 + len(codes)
	if v == V5 {
		length++
	}
	dst = appendVarint(append(dst, byte(t)<<4), length)
	dst = binary.BigEndian.AppendUint16(dst, id)
	if v == V5 {
		dst = append(dst, 0) // no properties
	}
	return append(dst, codes...)
}

// AppendPublish appends a PUBLISH; id is left out at QoS 0.
func AppendPublish(dst []byte, v Version, qos byte, id uint16, topic string, payload []byte) []byte {
	return append(AppendPublishHead(dst, v, qos, id, topic, len(payload)), payload...)
}

// AppendPublishHead appends what of a PUBLISH comes before its payload of that many bytes.
func AppendPublishHead(dst []byte, v Version, qos byte, id uint16, topic string, payload int) []byte {
	dst = appendVarint(append(dst, byte(PUBLISH)<<4|qos<<1), publishLength(v, qos, topic, payload))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(topic)))
	dst = append(dst, topic...)
	if qos > 0 {
		dst = binary.BigEndian.AppendUint16(dst, id)
	}
	if v == V5 {
		dst = append(dst, 0)
	}
	return dst
}

// PublishSize returns how many bytes AppendPublish appends.
func PublishSize(v Version, qos byte, topic string, payload []byte) int {
	length := publishLength(v, qos, topic, len(payload))
	return 1 + varintSize(length) + length
}

func publishLength(v Version, qos byte, topic string, payload int) int {
	length := 2 + len(topic) + payload
	if qos > 0 {
		length += 2
	}
	if v == V5 {
		length++
	}
	return length
}

// AppendPingresp appends a PINGRESP.
func AppendPingresp(dst []byte) []byte { return append(dst, byte(PINGRESP)<<4, 0) }

// AppendDisconnect appends a DISCONNECT. A server sends it only at MQTT 5. The empty properties
// could be left out; there are clients that then miss the reason.
func AppendDisconnect(dst []byte, r Reason) []byte {
	return append(dst, byte(DISCONNECT)<<4, 2, byte(r), 0)
}

func appendVarint(dst []byte, n int) []byte {
	for n >= 0x80 {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	return append(dst, byte(n))
}

func varintSize(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}
