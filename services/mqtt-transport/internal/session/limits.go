package session

import (
	"bytes"

	"github.com/go-json-experiment/json"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport/payload"
)

// limitsMethod is the request that is answered here, not by the rule chain (device-api §1.9).
const limitsMethod = "getSessionLimits"

// asksLimits reports whether data asks for the session's limits.
func (s *Session) asksLimits(data []byte) bool {
	if !bytes.Contains(data, []byte(limitsMethod)) {
		return false
	}
	if protobuf, _ := s.takesProtobuf(topic.Long); protobuf {
		if text, err := payload.ReadCall(data); err == nil {
			data = text
		}
	}
	var request struct {
		Method string `json:"method"`
	}
	return json.Unmarshal(data, &request) == nil && request.Method == limitsMethod
}

// sessionLimits is what a device may send. SDKs slow down by it.
type sessionLimits struct {
	Payload  int    `json:"maxPayloadSize"`
	InFlight int    `json:"maxInflightMessages"`
	Rates    rates  `json:"rateLimits"`
	Behind   *rates `json:"gatewayRateLimits,omitempty"` // for what a gateway sends for others
}

// rates are written "capacity:seconds,…"; null is no limit.
type rates struct {
	Messages  *string `json:"messages"`
	Telemetry *string `json:"telemetryMessages"`
	Points    *string `json:"telemetryDataPoints"`
}

func ratesOf(r *sluicepb.RateLimit) rates {
	text := func(s string) *string {
		if s == "" {
			return nil
		}
		return &s
	}
	return rates{text(r.GetMessages()), text(r.GetTelemetryMessages()), text(r.GetTelemetryPoints())}
}

// answerLimits tells the client its limits, after the acknowledgement of m.
func (s *Session) answerLimits(m *message, r topic.Route) Verdict {
	id, ok := topic.ParseRequestID(r.ID)
	if !ok {
		return s.conclude(m, s.outcomeOf(errRequestID, m.qos))
	}
	of := s.device.Rates()
	limits := sessionLimits{Payload: s.hub.rules.PacketBytes, InFlight: s.hub.rules.InFlight, Rates: ratesOf(of.GetDevice())}
	if s.device.Gateway {
		behind := ratesOf(of.GetGateway())
		limits.Rates, limits.Behind = ratesOf(of.GetGatewayDevice()), &behind
	}
	text, err := json.Marshal(limits)
	var answer []byte
	if err == nil {
		answer, err = s.encodeAnswer(id, string(text), r.Style)
	}
	if err != nil {
		return s.conclude(m, s.outcomeOf(err, m.qos))
	}
	s.handle.Active()
	s.finish(m, outcome{fate: Answered})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send(topic.RPCAnswersFilter(r.Style), topic.RPCAnswer(r.Style, string(r.ID)), answer)
	return More
}
