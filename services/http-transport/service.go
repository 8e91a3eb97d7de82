// Package httptransport is the door for devices that speak HTTP: they post telemetry and
// attributes, and read attributes. See DESIGN.md.
package httptransport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/services/http-transport/internal/deviceapi"
	"github.com/sluice-iot/sluice/services/http-transport/internal/listener"
	"github.com/sluice-iot/sluice/transport"
)

// Platform is what the service asks of the platform; *transport.Transport is one.
type Platform interface {
	transport.Authenticator
	transport.Uplinks
	transport.AttributeReader
}

// Service serves the device API over HTTP.
type Service struct {
	config   Config
	handler  http.Handler
	listener net.Listener // nil when Config.Listen is empty
	log      *slog.Logger
}

// New returns the service. Its listener is bound already, and answers once Run runs.
func New(c Config, platform Platform, env process.Env) (*Service, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	log := env.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	handler, err := deviceapi.New(platform, deviceapi.Limits{
		BodyBytes: c.MaxBodyBytes, Patience: c.Patience, RetryAfter: c.RetryAfter,
	}, env.Metrics, log)
	if err != nil {
		return nil, err
	}
	s := &Service{config: c, handler: handler, log: log}
	if c.Listen == "" {
		return s, nil
	}
	bound, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for HTTP devices on %s: %w", c.Listen, err)
	}
	s.listener = listener.Limit(bound, c.Connections)
	return s, nil
}

// Handler returns the device API (paths below /api/v1/), for a program that serves it on a
// listener of its own. That listener's server has to bound headers and times.
func (s *Service) Handler() http.Handler { return s.handler }

// Addr returns the address the service listens on, "" when it has no listener.
func (s *Service) Addr() string {
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Run serves until ctx ends, then stops accepting, finishes the requests in hand and returns.
func (s *Service) Run(ctx context.Context) error {
	if s.listener == nil {
		<-ctx.Done()
		return nil
	}
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: s.config.HeaderTimeout,
		ReadTimeout:       s.config.ReadTimeout,
		WriteTimeout:      s.config.WriteTimeout,
		IdleTimeout:       s.config.IdleTimeout,
		MaxHeaderBytes:    s.config.MaxHeaderBytes,
		// What it says is about single connections: clients' faults, nothing to act on.
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve HTTP devices: %w", err)
	case <-ctx.Done():
	}
	err := s.drain(ctx, server)
	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// drain lets the requests in hand finish; those that take too long lose their connection, unanswered.
func (s *Service) drain(ctx context.Context, server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.DrainTimeout)
	defer cancel()
	started := time.Now()
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("HTTP requests were cut off at the end of the drain time", slog.Duration("after", time.Since(started)))
		err = server.Close()
	}
	if err != nil {
		return fmt.Errorf("stop serving HTTP devices: %w", err)
	}
	return nil
}
