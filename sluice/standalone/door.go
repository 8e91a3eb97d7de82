package standalone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	httptransport "github.com/sluice-iot/sluice/services/http-transport"
)

// door is the one HTTP listener of a standalone process. Bodies are bounded by the services
// behind it, each in its own way.
type door struct {
	listener net.Listener
	server   *http.Server
	drain    time.Duration
}

// openDoor binds address. The http-transport's settings hold for all that comes through.
func openDoor(address string, c httptransport.Config, handler http.Handler, log *slog.Logger) (*door, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("http-listen: %w", err)
	}
	return &door{
		listener: &bounded{Listener: listener, places: make(chan struct{}, c.Connections), closed: make(chan struct{})},
		drain:    c.DrainTimeout,
		server: &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: c.HeaderTimeout,
			ReadTimeout:       c.ReadTimeout,
			WriteTimeout:      c.WriteTimeout,
			IdleTimeout:       c.IdleTimeout,
			MaxHeaderBytes:    c.MaxHeaderBytes,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // clients' doings, counted by the services
		},
	}, nil
}

// Addr is the address bound.
func (d *door) Addr() string { return d.listener.Addr().String() }

// Run serves until ctx ends and requests at hand are answered. WebSockets are closed by the
// services they belong to.
func (d *door) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- d.server.Serve(d.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.drain)
	defer cancel()
	err := d.server.Shutdown(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		err = d.server.Close()
	}
	if why := <-served; !errors.Is(why, http.ErrServerClosed) {
		err = errors.Join(err, why)
	}
	return errors.Join(err, ignoreClosed(d.listener.Close())) // Serve may not have got as far as to own it
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// routes gives each request to the service its path belongs to. A mux would answer unclean
// paths with redirects, which devices do not follow.
func routes(devices, mqtt, people http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/api/v1/"):
			devices.ServeHTTP(w, r)
		case r.URL.Path == "/mqtt":
			mqtt.ServeHTTP(w, r)
		default:
			people.ServeHTTP(w, r)
		}
	})
}

// bounded is a listener that accepts no more connections than it has places.
type bounded struct {
	net.Listener
	places chan struct{}
	once   sync.Once
	closed chan struct{}
}

// Accept waits for a place, then for a connection.
func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.places <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	conn, err := b.Listener.Accept()
	if err != nil {
		<-b.places
		return nil, err
	}
	return &placed{Conn: conn, leave: sync.OnceFunc(func() { <-b.places })}, nil
}

// Close closes the listener; connections keep their places.
func (b *bounded) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Listener.Close()
}

// placed is a connection that has a place until it is closed.
type placed struct {
	net.Conn
	leave func()
}

// Close closes the connection and frees its place.
func (p *placed) Close() error {
	defer p.leave()
	return p.Conn.Close()
}
