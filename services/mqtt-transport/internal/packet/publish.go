package packet

import "bytes"

// Duplicate is the flag of a PUBLISH that was sent before (§3.3.1.1), in the packet's first byte.
const Duplicate = 0x08

// Publish is a PUBLISH (§3.3). Retain is not kept: nothing is retained.
type Publish struct {
	Topic, Payload []byte
	ID             uint16 // 0 at QoS 0
	QoS            byte
	Duplicate      bool
	Alias          uint16 // 0 is none
}

// ParsePublish reads the body of a PUBLISH. At v5 the topic may be empty (an alias stands for it).
func ParsePublish(v Version, flags byte, body []byte) (Publish, *Error) {
	p := Publish{QoS: flags >> 1 & 3, Duplicate: flags&Duplicate != 0}
	if p.QoS == 3 {
		return p, ErrQoS
	}
	f := fields{b: body}
	p.Topic = f.text()
	if f.err == nil && (bytes.IndexByte(p.Topic, '#') >= 0 || bytes.IndexByte(p.Topic, '+') >= 0 || len(p.Topic) == 0 && v != V5) {
		return p, ErrTopic
	}
	if p.QoS > 0 {
		p.ID = f.packetID()
	}
	if v == V5 {
		p.Alias = f.properties(inPublish).topicAlias
	}
	p.Payload = f.b
	return p, f.err
}

// ParseAck reads the body of a PUBACK, PUBREC, PUBREL or PUBCOMP (§3.4 to §3.7).
func ParseAck(v Version, body []byte) (id uint16, reason Reason, err *Error) {
	f := fields{b: body}
	id = f.packetID()
	if v == V5 && len(f.b) > 0 {
		reason = Reason(f.byte())
		if len(f.b) > 0 {
			f.properties(inAck)
		}
	}
	return id, reason, f.end()
}

// ParseDisconnect reads the body of a DISCONNECT (§3.14).
func ParseDisconnect(v Version, body []byte) (Reason, *Error) {
	f := fields{b: body}
	reason := Success
	if v == V5 && len(f.b) > 0 {
		reason = Reason(f.byte())
		if len(f.b) > 0 {
			f.properties(inDisconnect)
		}
	}
	return reason, f.end()
}
