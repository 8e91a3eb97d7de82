package session

import (
	"context"
	"crypto/x509"
	"log/slog"
	"strings"
	"time"

	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/certificate"
)

// hello is what is needed of a CONNECT until it is answered.
type hello struct {
	credentials transport.Credentials
	nobody      bool // it comes for credentials
	keepAlive   uint16
	outlives    bool // a session was asked for that outlives the connection
	extended    bool // extended authentication was asked for
}

// hear takes a CONNECT. What it says is looked at by Connect, which may wait.
func (s *Session) hear(body []byte) Verdict {
	c, err := packet.ParseConnect(body)
	if err != nil {
		return s.violated(err) // without CONNACK: there is no version to say it in
	}
	s.version, s.receiveMaximum, s.packetMaximum = c.Version, c.ReceiveMaximum, c.MaximumPacketSize
	if s.receiveMaximum == 0 {
		s.receiveMaximum = 65535 // MQTT 5 §3.1.2.11.3
	}
	s.hello = &hello{
		credentials: transport.Credentials{
			ClientID: string(c.ClientID), Username: string(c.Username), Password: string(c.Password),
			HasUsername: c.HasUsername, HasPassword: c.HasPassword,
		},
		keepAlive: c.KeepAlive, outlives: c.SessionExpiry > 0, extended: c.ExtendedAuth,
	}
	s.hello.nobody = string(c.Username) == provisioning || string(c.ClientID) == provisioning
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = connecting
	return Connect
}

// Connect answers the CONNECT that Feed took, asking the platform, which may take as long as the
// connect deadline allows. What there is to Take afterwards, the caller is to write.
func (s *Session) Connect(ctx context.Context) Verdict {
	working := ctx
	ctx, cancel := context.WithTimeout(ctx, s.hub.rules.ConnectTimeout)
	defer cancel()
	hello := s.hello
	s.hello = nil
	answer := packet.Connack{
		Reason: s.admit(ctx, hello), ReceiveMaximum: uint16(s.hub.rules.InFlight),
		MaximumPacketSize: s.largestPacket(), NoSessionExpiry: hello.outlives,
	}
	if hello.credentials.ClientID == "" && s.version == packet.V5 {
		answer.ClientID = strings.ReplaceAll(s.id.String(), "-", "") // MQTT-3.1.3-6
	}
	s.hub.metrics.connect(answer.Reason)
	answer.KeepAlive = s.agreeKeepAlive(hello.keepAlive)
	if answer.Reason == packet.Success {
		s.openGateway(working)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return Close // taken over before it was accepted
	}
	o := s.output()
	o.Bytes = packet.AppendConnack(o.Bytes, s.version, answer)
	if answer.Reason != packet.Success {
		s.close(CauseRefused, packet.Success)
		return Close
	}
	s.phase = accepted
	return More
}

// admit finds out whose connection it is and opens its session.
func (s *Session) admit(ctx context.Context, h *hello) packet.Reason {
	if s.crowded {
		return packet.ServerBusy
	}
	if h.extended {
		return packet.BadAuthenticationMethod
	}
	if h.nobody {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.handle = nobody{}
		return packet.Success
	}
	peer := s.wire.Peer()
	if shown := peer.Certificates; len(shown) > 0 {
		if err := certificate.CheckClient(shown, time.Now()); err != nil {
			s.hub.log.Debug("client certificate refused", slog.Any("err", err))
			return packet.NotAuthorized
		}
		h.credentials = certificates(shown)
	}
	h.credentials.From = peer.Address
	device, err := s.hub.platform.Authenticate(ctx, h.credentials)
	if err != nil {
		return refusal(err, &h.credentials)
	}
	switch device.TransportType {
	case "", "DEFAULT", Protocol:
	default:
		return packet.ServerUnavailable // the device's profile is for another protocol
	}
	s.device = device
	handle, err := s.hub.platform.Open(ctx, device, Protocol, s)
	if err != nil {
		return refusal(err, &h.credentials)
	}
	s.mu.Lock()
	s.handle = handle
	s.mu.Unlock()
	s.id = handle.ID()
	return packet.Success
}

// certificates are what a client presents instead of all else by showing certificates (device-api §1.2).
func certificates(shown []*x509.Certificate) transport.Credentials {
	var chain []byte
	for _, c := range shown {
		chain = append(chain, c.Raw...)
	}
	return transport.Credentials{Certificates: string(chain)}
}

// agreeKeepAlive sets how long the client may be silent: one and a half times its keep-alive
// (MQTT-3.1.2-22), and no longer than the inactivity timeout. It returns the keep-alive that an
// MQTT 5 client is to use in place of its own so as not to fall silent; 0 leaves its own.
func (s *Session) agreeKeepAlive(asked uint16) uint16 {
	silence := time.Duration(asked) * time.Second * 3 / 2
	limit := s.hub.rules.Inactivity
	instead := uint16(0)
	if asked == 0 || silence > limit {
		silence = limit
		instead = uint16(max(1, min(limit*2/3/time.Second, 65535)))
	}
	s.patience = s.hub.ticksFor(silence)
	s.due.Store(s.hub.now.Load() + s.patience)
	return instead
}

// largestPacket is the size of the largest packet that is taken, header included.
func (s *Session) largestPacket() uint32 {
	return uint32(min(s.hub.rules.PacketBytes, 1<<28-1)) + 5
}
