// Package mqtttransport is the door for devices that speak MQTT 3.1, 3.1.1 and 5, over TCP and
// over WebSocket. See DESIGN.md.
package mqtttransport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/listener"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/session"
	"github.com/sluice-iot/sluice/transport"
)

// Service is a running MQTT transport.
type Service struct {
	config Config
	server *listener.Server
	tcp    net.Listener // nil: none
	web    net.Listener // nil: none
}

// Platform is what the service needs of the platform. *transport.Transport is the one
// implementation; a process has one, whatever its protocols, so it is handed in.
type Platform interface {
	transport.Authenticator
	transport.Uplinks
	transport.AttributeReader
	transport.Sessions
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
	hub := session.NewHub(session.Rules{
		ConnectBytes: c.ConnectBytes, PacketBytes: c.PacketBytes, InFlight: c.InFlight, OutputBytes: c.OutputBytes,
		AttributeReads: c.AttributeReads, ConnectTimeout: c.ConnectTimeout, Inactivity: c.Inactivity,
	}, platform, sessions, log)
	s := &Service{config: c, server: listener.New(listener.Options{
		Connections: c.Connections, WriteTimeout: c.WriteTimeout, DrainTimeout: c.DrainTimeout,
	}, hub, listeners, log)}
	if s.tcp, err = listen(c.Listen); err != nil {
		return nil, fmt.Errorf("listen for MQTT: %w", err)
	}
	if s.web, err = listen(c.WebSocket); err != nil {
		return nil, errors.Join(fmt.Errorf("listen for MQTT over WebSocket: %w", err), shut(s.tcp))
	}
	return s, nil
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
		running.Go(func() error { return s.server.Serve(ctx, s.tcp) })
	}
	if s.web != nil {
		running.Go(s.serveWeb)
	}
	<-ctx.Done()
	err := running.Wait()
	s.server.Drain()
	return err
}

func (s *Service) stopListening() {
	for _, l := range []net.Listener{s.tcp, s.web} {
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
