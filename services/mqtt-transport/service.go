// Package mqtttransport is the door for devices that speak MQTT 3.1, 3.1.1 and 5, over TCP,
// TLS and WebSocket. See DESIGN.md.
package mqtttransport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/gateway"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/listener"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/proxy"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/session"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/certificate"
)

// Service is a running MQTT transport.
type Service struct {
	config Config
	server *listener.Server
	tcp    net.Listener // nil: none
	secure net.Listener // nil: none
	web    net.Listener // nil: none

	entry        listener.Entry     // of tcp
	certificates *certificate.Store // of secure
}

// Platform is what the service needs of the platform. *transport.Transport is the one
// implementation; a process has one, whatever its protocols, so it is handed in.
type Platform interface {
	transport.Authenticator
	transport.Provisioner
	transport.Packages
	transport.Formats
	gateway.Platform
}

// New binds the listeners; nobody is served before Run. platform must work until Run has returned.
func New(c Config, platform Platform, env process.Env) (*Service, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	log := env.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	sessions, err := session.NewMetrics(env.Metrics)
	if err != nil {
		return nil, err
	}
	listeners, err := listener.NewMetrics(env.Metrics)
	if err != nil {
		return nil, err
	}
	farewell, _ := session.DrainReason(c.DrainReason) // checked
	hub := session.NewHub(session.Rules{
		ConnectBytes: c.ConnectBytes, PacketBytes: c.PacketBytes, InFlight: c.InFlight, OutputBytes: c.OutputBytes,
		AttributeReads: c.AttributeReads, ConnectTimeout: c.ConnectTimeout, Inactivity: c.Inactivity,
		Waiting: c.Waiting, Unacknowledged: c.Unacknowledged, Downloads: c.Downloads, PackageBytes: c.PackageBytes,
		Farewell:           farewell,
		GatewayOutputBytes: c.GatewayOutputBytes,
		Gateways: gateway.Bounds{
			Devices: c.GatewayDevices, QueuedBytes: c.GatewayQueuedBytes, Openings: c.GatewayOpenings, Reads: c.GatewayReads,
			Connectors: c.GatewayConnectors, Notices: c.GatewayNotices, Closings: c.GatewayClosings,
			OpenTimeout: c.ConnectTimeout, MetricsEvery: c.GatewayMetrics, ActivityEvery: c.GatewayActivity,
		},
	}, platform, sessions, log)
	s := &Service{config: c, server: listener.New(listener.Options{
		Connections: c.Connections, Refusals: c.Refusals,
		WriteTimeout: c.WriteTimeout, DrainTimeout: c.DrainTimeout, DrainRate: c.DrainRate,
	}, hub, listeners, log)}
	if s.entry.Trusted, err = proxy.ParseTrusted(c.ProxyTrusted); err != nil {
		return nil, fmt.Errorf("proxy-trusted: %w", err)
	}
	if c.TLSCertificates != "" {
		metrics, err := certificate.NewMetrics(env.Metrics, "mqtt_transport")
		if err != nil {
			return nil, err
		}
		if s.certificates, err = certificate.Open(c.TLSCertificates, metrics, log); err != nil {
			return nil, fmt.Errorf("mqtt-tls-certificates: %w", err)
		}
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	return s, nil
}

// listen binds all addresses, or none.
func (s *Service) listen() (err error) {
	for _, door := range []struct {
		setting, address string
		at               *net.Listener
	}{
		{"mqtt-listen", s.config.Listen, &s.tcp},
		{"mqtt-tls-listen", s.config.TLSListen, &s.secure},
		{"mqtt-websocket-listen", s.config.WebSocket, &s.web},
	} {
		if *door.at, err = listen(door.address); err != nil {
			s.stopListening()
			return fmt.Errorf("%s: %w", door.setting, err)
		}
	}
	return nil
}

// listen binds address; "" is none. TCP keep-alive is off: MQTT has its own, and sessions that
// fall silent are closed.
func listen(address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	settings := net.ListenConfig{KeepAlive: -1}
	return settings.Listen(context.Background(), "tcp", address)
}

func shut(l net.Listener) error {
	if l == nil {
		return nil
	}
	return l.Close()
}

// Addr is the TCP address bound, with the port that was picked; "" when there is none.
func (s *Service) Addr() string { return address(s.tcp) }

// TLSAddr is the same for TLS.
func (s *Service) TLSAddr() string { return address(s.secure) }

// WebSocketAddr is the same for the service's own WebSocket listener.
func (s *Service) WebSocketAddr() string { return address(s.web) }

func address(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

// Handler serves MQTT over WebSocket (subprotocol mqtt), whatever path it is put under, while Run runs.
func (s *Service) Handler() http.Handler { return s.server }

// Run serves devices until ctx ends, then drains: it takes no more on, answers what is in flight
// within the drain timeout, and closes every connection.
func (s *Service) Run(ctx context.Context) error {
	if err := s.server.Start(); err != nil {
		s.stopListening()
		return err
	}
	running, ctx := errgroup.WithContext(ctx)
	forget := context.AfterFunc(ctx, s.stopListening)
	defer forget()
	if s.tcp != nil {
		running.Go(func() error { return s.server.Serve(ctx, s.tcp, s.entry) })
	}
	if s.secure != nil {
		running.Go(func() error { return s.serveTLS(ctx) })
	}
	if s.web != nil {
		running.Go(s.serveWeb)
	}
	<-ctx.Done()
	err := running.Wait()
	s.server.Drain()
	return err
}

// certificateCheck is how often the certificates' files are looked at.
const certificateCheck = 3 * time.Second

func (s *Service) serveTLS(ctx context.Context) error {
	var looking sync.WaitGroup
	looking.Go(func() { s.certificates.Run(ctx, certificateCheck) })
	defer looking.Wait()
	entry := s.entry
	entry.TLS = s.certificates.Config()
	entry.TLS.ClientAuth = tls.RequestClientCert // who has none shows a token; who shows one is looked up by it, whoever signed it
	return s.server.Serve(ctx, s.secure, entry)
}

func (s *Service) stopListening() {
	for _, l := range []net.Listener{s.tcp, s.secure, s.web} {
		_ = shut(l) // Run ends by it; nothing else would help
	}
}

func (s *Service) serveWeb() error {
	routes := http.NewServeMux()
	routes.Handle("/mqtt", s.server)
	web := &http.Server{Handler: routes, ReadHeaderTimeout: s.config.ConnectTimeout}
	if err := web.Serve(s.web); !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve MQTT over WebSocket: %w", err)
	}
	return nil
}
