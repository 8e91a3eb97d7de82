// Package coaptransport is the door for devices that speak CoAP over UDP (RFC 7252), plain or over DTLS. See DESIGN.md.
package coaptransport

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/exchange"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/observe"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
	"github.com/sluice-iot/sluice/services/coap-transport/internal/resource"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/certificate"
)

// Service is a running CoAP transport.
type Service struct {
	config    Config
	started   time.Time
	metrics   *metrics
	doors     doors
	table     *exchange.Table
	resources *resource.Resources
	relations *observe.Relations
	// certificates are those of secured connections; nil: none.
	certificates *certificate.Store
	alarm        chan struct{} // the table needs Expire earlier than it said
}

// Platform is what the service needs of the platform. *transport.Transport is the one
// implementation; a process has one, whatever its protocols, so it is handed in.
type Platform interface {
	resource.Platform
	transport.Sessions
	transport.Formats
	transport.SharedKeys
}

// New binds the listener. platform must work until Run has returned.
func New(c Config, platform Platform, env process.Env) (*Service, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	counts, err := newMetrics(env.Metrics, env.Log)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	s := &Service{config: c, started: time.Now(), metrics: counts, alarm: make(chan struct{}, 1)}
	if err := s.listen(platform, env); err != nil {
		return nil, err
	}
	s.build(platform, &s.doors)
	return s, nil
}

// Addr is the address bound, with the port that was picked; "" when there is no listener.
func (s *Service) Addr() string {
	if s.doors.plain == nil {
		return ""
	}
	return s.doors.plain.Addr()
}

// DTLSAddr is the same for secured connections.
func (s *Service) DTLSAddr() string {
	if s.doors.secure == nil {
		return ""
	}
	return s.doors.secure.Addr()
}

// certificateCheck is how often the certificates' files are looked at.
const certificateCheck = 3 * time.Second

// Run serves devices until ctx ends, then drains: reads no more, answers what is in hand within
// the drain timeout, closes the sockets.
func (s *Service) Run(ctx context.Context) error {
	if s.doors == (doors{}) {
		<-ctx.Done()
		return nil
	}
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()
	var keepers sync.WaitGroup
	keepers.Go(func() { s.keepTime(keeping) })
	if s.certificates != nil {
		keepers.Go(func() { s.certificates.Run(keeping, certificateCheck) })
	}
	err := s.read(ctx)
	s.drain()
	stopKeeping()
	keepers.Wait()
	return errors.Join(err, s.close())
}

// read serves all sockets until ctx ends, or one fails.
func (s *Service) read(ctx context.Context) error {
	readers, ctx := errgroup.WithContext(ctx)
	if l := s.doors.plain; l != nil {
		defer context.AfterFunc(ctx, l.StopReading)()
		readers.Go(func() error { return l.Read(s.handle) })
	}
	if l := s.doors.secure; l != nil {
		defer context.AfterFunc(ctx, l.StopReading)()
		readers.Go(func() error { return l.Read(s.handle) })
	}
	return readers.Wait()
}

func (s *Service) close() (err error) {
	if s.doors.secure != nil {
		err = s.doors.secure.Close()
	}
	if s.doors.plain != nil {
		err = errors.Join(err, s.doors.plain.Close())
	}
	return err
}

func (s *Service) now() time.Duration { return time.Since(s.started) }

func (s *Service) handle(from exchange.Endpoint, datagram []byte, cut bool) {
	var x *exchange.Exchange
	defer func() {
		if what := recover(); what != nil {
			s.recovered(x, what)
		}
	}()
	m, err := packet.Parse(datagram)
	if err != nil {
		s.metrics.malformedDatagram(err)
		if m.Type == packet.Confirmable && rejectable(err) {
			s.table.Reject(from, m.ID)
		}
		return
	}
	if x = s.table.Receive(s.now(), from, datagram, m); x != nil {
		s.resources.Serve(x, m, cut)
	}
}

// rejectable reports whether a datagram with this fault has a message id to reject it by, and
// is of our version; others must be ignored (RFC 7252 §3).
func rejectable(err error) bool {
	return !errors.Is(err, packet.ErrShort) && !errors.Is(err, packet.ErrVersion)
}

// recovered keeps a bug that one datagram uncovers from taking the others down with it.
func (s *Service) recovered(x *exchange.Exchange, what any) {
	if x == nil {
		s.metrics.Panicked(what)
		return
	}
	s.resources.Recovered(x, what)
}

func (s *Service) ring() {
	select {
	case s.alarm <- struct{}{}:
	default:
	}
}

// keepTime has the table do what is due.
func (s *Service) keepTime(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		next, ok := s.table.Expire(s.now())
		timer.Stop()
		if ok {
			timer.Reset(max(next-s.now(), 0))
		}
		select {
		case <-timer.C:
		case <-s.alarm:
		case <-ctx.Done():
			return
		}
	}
}

// drain answers what is in hand. What waits for the core is told to come again; what is on the
// bus is waited for, since it may be stored already.
func (s *Service) drain() {
	s.resources.Close()
	s.relations.Close()
	deadline := time.NewTimer(s.config.DrainTimeout)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for s.table.InHand() > 0 {
		select {
		case <-poll.C:
		case <-deadline.C:
			return
		}
	}
}
