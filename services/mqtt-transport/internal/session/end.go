package session

import (
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
)

// Cause is why a connection ended.
type Cause byte

// The causes.
const (
	CauseLost        Cause = iota // the connection broke, or was closed without DISCONNECT
	CauseClient                   // the client sent DISCONNECT
	CauseSilent                   // nothing came for longer than the keep-alive, or the connect deadline, allows
	CauseProtocol                 // what came is not MQTT
	CauseTooLarge                 // a packet was too large
	CauseRefused                  // CONNECT or PUBLISH was refused
	CauseSlow                     // the client does not read what it is sent
	CauseTakenOver                // the device connected again
	CauseCredentials              // the device's credentials changed
	CauseDeleted                  // the device was deleted
	CauseUndelivered              // the client did not acknowledge a request often enough
	CauseProvisioned              // a client that came for credentials was answered
	CausePlatform                 // the platform ended it without saying why
	CauseDrain                    // the service is stopping
	CausePanic                    // a bug
	causes
)

func (c Cause) String() string {
	return [causes]string{
		"lost", "client", "silent", "protocol", "too_large", "refused", "slow",
		"taken_over", "credentials_changed", "device_deleted", "rpc_not_delivered", "provisioned", "platform", "drain", "panic",
	}[c]
}

// Cause returns why the session is closing.
func (s *Session) Cause() Cause {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// close closes the connection at once, telling an MQTT 5 client why. Only under the lock.
func (s *Session) close(cause Cause, reason packet.Reason) {
	if s.closing {
		return
	}
	if s.phase == accepted && s.version == packet.V5 && reason != packet.Success {
		o := s.output()
		o.Bytes = packet.AppendDisconnect(o.Bytes, reason)
	}
	s.closing, s.cause = true, cause
	s.stream.wake()
	s.wire.Stop()
}

// refuse is close for the reader.
func (s *Session) refuse(cause Cause, reason packet.Reason) Verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close(cause, reason)
	return Close
}

// violated closes a connection whose client broke the protocol.
func (s *Session) violated(err *packet.Error) Verdict { return s.refuse(CauseProtocol, err.Reason) }

// Break closes the session without a word: the connection is gone, or what came of it cannot be trusted.
func (s *Session) Break(cause Cause) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close(cause, packet.Success)
}

// Expire closes the session when its client has been silent for too long.
func (s *Session) Expire() {
	if s.hub.now.Load() >= s.requestDue.Load() {
		s.expireRequests()
	}
	if s.hub.now.Load() < s.due.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hub.now.Load() >= s.due.Load() { // it may have spoken meanwhile
		s.close(CauseSilent, packet.KeepAliveTimeout)
	}
}

// DrainReason returns what clients are told of the end of a service, by the name that operators
// know it by (MQTT 5 §3.14.2.1).
func DrainReason(name string) (r packet.Reason, known bool) {
	switch name {
	case "use-another-server": // there are others, at the same address
		return packet.UseAnotherServer, true
	case "administrative-action":
		return packet.AdministrativeAction, true
	case "server-shutting-down":
		return packet.ServerShuttingDown, true
	}
	return 0, false
}

// Drain closes the session when what is in flight has been answered. Nothing more is taken on.
func (s *Session) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending || s.closing {
		return
	}
	s.ending, s.cause, s.shutdown = true, CauseDrain, s.hub.rules.Farewell
	s.settled()
}

// Close implements transport.Downlinks: the platform ends the session.
func (s *Session) Close(reason sluicepb.CloseReason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch reason {
	case sluicepb.CloseReason_TAKEN_OVER:
		s.close(CauseTakenOver, packet.SessionTakenOver)
	case sluicepb.CloseReason_CREDENTIALS_CHANGED:
		s.close(CauseCredentials, packet.AdministrativeAction)
	case sluicepb.CloseReason_DEVICE_DELETED:
		s.close(CauseDeleted, packet.AdministrativeAction)
	case sluicepb.CloseReason_RPC_NOT_DELIVERED:
		s.close(CauseUndelivered, packet.AdministrativeAction)
	default:
		s.close(CausePlatform, packet.AdministrativeAction)
	}
}

// Ended forgets the session; call it once, after the connection was closed. What is still in
// flight goes on, and is answered to nobody.
func (s *Session) Ended() {
	s.mu.Lock()
	s.closing = true // nothing is written any more
	handle, cause, out := s.handle, s.cause, s.out
	s.out, s.outbox = nil, nil
	s.stream.wake()
	if s.life != nil {
		s.life.end()
	}
	s.count()
	s.mu.Unlock()
	s.hub.metrics.ended[cause].Inc()
	if out != nil {
		s.hub.recycle(out)
	}
	if s.behind != nil {
		s.behind.Close()
	}
	if handle != nil {
		handle.Close()
	}
}
