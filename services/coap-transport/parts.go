package coaptransport

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/block"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/listener"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/observe"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/reach"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/resource"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/secure"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/certificate"
)

// doors are the sockets: plain ones, and those of secured connections; either may be nil. They are the exchange table's Sink.
type doors struct {
	plain  *listener.Listener
	secure *secure.Server
}

// Send implements exchange.Sink.
func (d *doors) Send(to exchange.Endpoint, datagram []byte) {
	if to.Session != 0 {
		d.secure.Send(to, datagram)
		return
	}
	d.plain.Send(to, datagram)
}

// listen binds the sockets there are to be, or none.
func (s *Service) listen(keys transport.SharedKeys, env process.Env) (err error) {
	if s.config.Listen != "" {
		if s.doors.plain, err = listener.Open(s.socket(s.config.Listen), s.metrics); err != nil {
			return err
		}
	}
	if s.config.DTLSListen == "" {
		return nil
	}
	if s.doors.secure, err = s.openSecure(keys, env); err != nil && s.doors.plain != nil {
		_ = s.doors.plain.Close() // nothing was sent on it
	}
	return err
}

func (s *Service) socket(address string) listener.Options {
	return listener.Options{
		Address: address, DatagramBytes: min(s.config.MaxPayloadBytes+optionsAllowance, maxDatagram),
		Batch: s.config.Batch, OutboxBytes: s.config.OutboxBytes, ReceiveBufferBytes: s.config.ReceiveBufferBytes,
	}
}

func (s *Service) openSecure(keys transport.SharedKeys, env process.Env) (*secure.Server, error) {
	c, log := &s.config, env.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if c.DTLSCertificates != "" {
		counts, err := certificate.NewMetrics(env.Metrics, "coap_transport")
		if err != nil {
			return nil, err
		}
		if s.certificates, err = certificate.Open(c.DTLSCertificates, counts, log); err != nil {
			return nil, fmt.Errorf("coap-dtls-certificates: %w", err)
		}
	}
	server, err := secure.Open(s.socket(c.DTLSListen), secure.Options{
		Limits: secure.Limits{
			Sessions: c.DTLSSessions, EvictAfter: evictAfter, Handshakes: c.DTLSHandshakes, HandshakesPerAddress: c.DTLSHandshakesPerAddress,
			HandshakeTimeout: c.DTLSHandshakeTimeout, Failures: c.DTLSFailures, Idle: c.DTLSIdle, Queue: dtlsQueue, DatagramBytes: dtlsBytes,
		},
		Certificates: s.certificates, Keys: keys, Counts: s.metrics, Log: log,
	}, s.metrics)
	if err != nil {
		return nil, fmt.Errorf("coap-dtls-listen: %w", err)
	}
	return server, nil
}

// What bounds one secured connection: how many datagrams wait for it, how long one may be, and for how long it must have been
// idle to make room for another.
const (
	dtlsQueue  = 16
	dtlsBytes  = 4096
	evictAfter = 10 * time.Minute
)

// holder returns the credentials that a secured connection proved.
func (s *Service) holder(e exchange.Endpoint) (transport.Credentials, bool) {
	return s.doors.secure.Holder(e)
}

// build puts together what answers what the sockets bring; out takes the datagrams to be sent.
func (s *Service) build(platform Platform, out exchange.Sink) {
	c := &s.config
	retryAfter := uint32(c.RetryAfter / time.Second)
	peers := reach.New(reach.Limits{
		Factor: c.AmplificationFactor, SmallBytes: smallAnswer, Trials: c.AmplificationTrials, Known: c.KnownPeers,
	}, s.now)
	s.table = exchange.New(exchange.Limits{
		InHand: c.InHand, Remembered: c.Remembered, RememberedBytes: c.RememberedBytes, Retransmitting: c.Retransmitting,
		Piggyback: c.PiggybackTimeout, RetryAfter: retryAfter, Reached: peers.Reached,
	}, out, s.metrics, s.ring)
	bodies := block.NewBodies(block.BodyLimits{TotalBytes: c.AnswerBytes, Lifetime: c.BlockLifetime}, s.now)
	s.relations = observe.New(observe.Options{
		Limits: observe.Limits{Devices: c.Observers, Requests: c.ObserveRequests, Keys: c.ObserveKeys, Probe: c.ObserveProbe},
		Wire:   s.table, Platform: platform, Bodies: bodies, Counts: s.metrics, Now: s.now,
	})
	s.resources = resource.New(resource.Parts{
		Platform: platform, Relations: s.relations, Bodies: bodies, Peers: peers, Counts: s.metrics, Now: s.now, Holder: s.holder,
		Uploads: block.NewUploads(block.UploadLimits{
			BodyBytes: c.MaxUploadBytes, PerEndpoint: c.Uploads, TotalBytes: c.UploadBytes, Idle: c.BlockLifetime,
		}, s.now),
	}, resource.Limits{
		PayloadBytes: c.MaxPayloadBytes, UploadBytes: c.MaxUploadBytes, AnswerBytes: c.MaxAnswerBytes,
		Waiting: c.Waiting, Patience: c.Patience, RetryAfter: retryAfter, Packages: c.Fetches,
	})
}
