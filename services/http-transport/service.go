// Package httptransport is the door for devices that speak HTTP: the whole device API below /api/v1/. See DESIGN.md.
package httptransport

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

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/services/http-transport/internal/deviceapi"
	"github.com/sluice-iot/sluice/services/http-transport/internal/listener"
	"github.com/sluice-iot/sluice/transport/certificate"
)

// Platform is what the service asks of the platform; *transport.Transport is one.
type Platform = deviceapi.Platform

// Service serves the device API over HTTP.
type Service struct {
	config       Config
	api          *deviceapi.API
	plain        net.Listener // nil when Config.Listen is empty
	secure       net.Listener // nil when Config.TLSListen is
	certificates *certificate.Store
	log          *slog.Logger
}

// New returns the service. Its listeners are bound already, and answer once Run runs.
func New(c Config, platform Platform, env process.Env) (*Service, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	log := env.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	proxies, err := deviceapi.ParseProxies(c.ProxyTrusted)
	if err != nil {
		return nil, fmt.Errorf("http-proxy-trusted: %w", err)
	}
	api, err := deviceapi.New(platform, deviceapi.Limits{
		Proxies: proxies, BodyBytes: c.MaxBodyBytes, RPCBytes: c.MaxRPCBytes, Polls: c.Polls, Patience: c.Patience, RetryAfter: c.RetryAfter, PartTime: c.WriteTimeout,
	}, env.Metrics, log)
	if err != nil {
		return nil, err
	}
	s := &Service{config: c, api: api, log: log}
	if err := s.listen(env); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *Service) listen(env process.Env) error {
	c := &s.config
	if c.TLSListen != "" {
		metrics, err := certificate.NewMetrics(env.Metrics, "http_transport")
		if err != nil {
			return err
		}
		if s.certificates, err = certificate.Open(c.TLSCertificates, metrics, s.log); err != nil {
			return fmt.Errorf("http-tls-certificates: %w", err)
		}
	}
	for _, l := range []struct {
		address string
		into    *net.Listener
	}{{c.Listen, &s.plain}, {c.TLSListen, &s.secure}} {
		if l.address == "" {
			continue
		}
		bound, err := net.Listen("tcp", l.address)
		if err != nil {
			return fmt.Errorf("listen for HTTP devices on %s: %w", l.address, err)
		}
		*l.into = listener.Limit(bound, c.Connections)
	}
	return nil
}

func (s *Service) close() {
	for _, l := range []net.Listener{s.plain, s.secure} {
		if l != nil {
			_ = l.Close() // nothing was accepted
		}
	}
}

// Handler returns the device API (paths below /api/v1/), for a program that serves it on a
// listener of its own. That listener's server has to bound headers and times.
func (s *Service) Handler() http.Handler { return s.api }

// EndWaits tells those who wait for a downlink to come again, now and from now on. Who serves Handler calls it when his server begins to stop.
func (s *Service) EndWaits() { s.api.Stop() }

// Addr returns the address the service listens on, "" when it has no listener.
func (s *Service) Addr() string { return address(s.plain) }

// TLSAddr is the same for HTTPS.
func (s *Service) TLSAddr() string { return address(s.secure) }

// Parked returns how many requests wait for a downlink.
func (s *Service) Parked() int { return s.api.Parked() }

func address(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

// certificateCheck is how often the certificates' files are looked at.
const certificateCheck = 3 * time.Second

// Run serves until ctx ends, then stops accepting, finishes the requests in hand and returns. Those who wait for a downlink are told to
// come again.
func (s *Service) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	failures := make([]error, 2)
	for i, l := range []net.Listener{s.plain, s.secure} {
		if l == nil {
			continue
		}
		running.Go(func() {
			if failures[i] = s.serve(ctx, l, l == s.secure); failures[i] != nil {
				cancel()
			}
		})
	}
	if s.certificates != nil {
		running.Go(func() { s.certificates.Run(ctx, certificateCheck) })
	}
	<-ctx.Done()
	s.api.Stop()
	running.Wait()
	return errors.Join(failures...)
}

// serve serves one listener until ctx ends.
func (s *Service) serve(ctx context.Context, l net.Listener, secure bool) error {
	server := &http.Server{
		Handler:           s.api,
		ReadHeaderTimeout: s.config.HeaderTimeout,
		ReadTimeout:       s.config.ReadTimeout,
		WriteTimeout:      s.config.WriteTimeout,
		IdleTimeout:       s.config.IdleTimeout,
		MaxHeaderBytes:    s.config.MaxHeaderBytes,
		// What it says is about single connections: clients' faults, nothing to act on.
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	if secure {
		server.TLSConfig = s.certificates.Config()
		// One connection is one device's: HTTP/2 would only let it have many requests at a time.
		server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
		l = tls.NewListener(l, server.TLSConfig)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
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
