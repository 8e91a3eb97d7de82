package session

import (
	"errors"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
	"github.com/sluice-iot/sluice/transport"
)

// Fate is what became of a PUBLISH; every one that was received has exactly one.
type Fate byte

// The fates.
const (
	Acknowledged Fate = iota // the bus has it
	Answered                 // a request, being answered
	UnknownTopic             // the topic means nothing
	NoPackage                // none is assigned to the device, or not one that is here
	Malformed                // the payload was refused
	TooLarge                 // the uplink was too large
	Limited                  // the device or its tenant sent too much
	Denied                   // the device may not
	Unavailable              // the bus did not take it, or not in time
	fates
)

func (f Fate) String() string {
	return [fates]string{
		"acknowledged", "answered", "unknown_topic", "no_package", "malformed", "too_large", "limited", "denied", "unavailable",
	}[f]
}

// outcome is what the client is told of a PUBLISH.
type outcome struct {
	fate   Fate
	reason packet.Reason
	fatal  bool // it is told by the end of the connection
	// acknowledge: also when that is the end. mute: not at all.
	acknowledge, mute bool
}

// outcomeOf tells what becomes of a PUBLISH that ended with err. Before MQTT 5 a refusal can only
// be told by closing: PUBACK would mean that the platform has it. QoS 0 has no answer at all.
func (s *Session) outcomeOf(err error, qos byte) outcome {
	if err == nil {
		return outcome{}
	}
	mute := s.version != packet.V5 || qos == 0
	switch {
	case errors.Is(err, transport.ErrTooLarge):
		return outcome{fate: TooLarge, reason: packet.PacketTooLarge, fatal: true}
	case fault.KindOf(err) == fault.Invalid:
		return s.malformed(qos)
	case fault.KindOf(err) == fault.Limited:
		return outcome{fate: Limited, reason: packet.ImplementationError, fatal: true}
	case fault.KindOf(err) == fault.Unavailable, fault.KindOf(err) == fault.Internal:
		return outcome{fate: Unavailable, reason: packet.ImplementationError, fatal: mute}
	default:
		return outcome{fate: Denied, reason: packet.NotAuthorized, fatal: mute}
	}
}

// malformed is the outcome of a payload that is refused. A profile may ask that it be acknowledged before MQTT 5 (device-api §1.13).
func (s *Session) malformed(qos byte) outcome {
	o := outcome{fate: Malformed, reason: packet.PayloadFormatInvalid, fatal: s.version != packet.V5 || qos == 0}
	if s.version != packet.V5 && qos > 0 && s.device != nil && s.device.Options().GetAcknowledgeInvalid() {
		o.reason, o.fatal = packet.Success, false
	}
	return o
}

// unknownTopic is the outcome for a topic that cannot be served. The reference platform
// acknowledges it before MQTT 5, where no other answer keeps the connection; it was never telemetry.
func (s *Session) unknownTopic(fate Fate, reason packet.Reason) outcome {
	if s.version != packet.V5 {
		reason = packet.Success
	}
	return outcome{fate: fate, reason: reason}
}

// refusal is the reason a client is refused with, by what it presented and why it was refused
// (device-api §1.2).
func refusal(err error, c *transport.Credentials) packet.Reason {
	switch fault.KindOf(err) {
	case fault.Unauthenticated:
		switch {
		case c.Username != "" || c.Password != "":
			return packet.BadUserNameOrPassword
		case c.ClientID != "":
			return packet.ClientIdentifierNotValid
		}
		return packet.NotAuthorized
	case fault.Denied:
		return packet.NotAuthorized
	case fault.Limited:
		return packet.ConnectionRateExceeded
	default:
		return packet.ServerUnavailable
	}
}
