package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/transport"
)

const protocol = "CSV" // what uplinks say they came over

// Settings of the service.
type Settings struct {
	Listen   string `name:"csv-listen" default:":5600" help:"UDP address for devices that send CSV; port 0 picks one."`
	InFlight int    `name:"csv-in-flight" default:"1024" help:"Most rows being taken on at a time; further ones are answered with later."`
}

const maxRow = 8192 // bytes of the largest row

// Platform is what the service asks of the platform; *transport.Transport is one.
type Platform interface {
	transport.Authenticator
	transport.Uplinks
}

// Service takes rows of CSV over UDP, one a datagram: TOKEN,NUMBER,telemetry|attributes,TIME,KEY,VALUE,KEY,VALUE,… TIME
// is in ms since the epoch, or empty. Each is answered with NUMBER,ok once the bus has it, else with
// NUMBER,unknown|malformed|limited|too large|later. A device without an answer sends the row again.
type Service struct {
	settings Settings
	platform Platform
	conn     *net.UDPConn
	slots    chan struct{} // one for each row in flight
	rows     sync.WaitGroup
}

// New returns the service. Its socket is bound already, and read once Run runs.
func New(s Settings, platform Platform) (*Service, error) {
	if s.InFlight < 1 {
		return nil, fmt.Errorf("csv-in-flight: %d is less than 1", s.InFlight)
	}
	address, err := net.ResolveUDPAddr("udp", s.Listen)
	if err != nil {
		return nil, fmt.Errorf("csv-listen: %w", err)
	}
	conn, err := net.ListenUDP("udp", address)
	if err != nil {
		return nil, fmt.Errorf("csv-listen: %w", err)
	}
	return &Service{settings: s, platform: platform, conn: conn, slots: make(chan struct{}, s.InFlight)}, nil
}

// Addr is the address the socket is bound to.
func (s *Service) Addr() string { return s.conn.LocalAddr().String() }

// Run serves until ctx ends, then answers the rows in flight and returns.
func (s *Service) Run(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- s.read(ctx) }()
	select {
	case err := <-failed:
		return errors.Join(err, s.conn.Close())
	case <-ctx.Done():
	}
	// Nothing more is taken on; a read that is waiting ends.
	err := errors.Join(s.conn.SetReadDeadline(time.Now()), <-failed)
	s.rows.Wait()
	return errors.Join(err, s.conn.Close())
}

// read takes datagrams on until ctx ends.
func (s *Service) read(ctx context.Context) error {
	buffer := make([]byte, maxRow+1)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buffer)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read rows: %w", err)
		}
		row := string(buffer[:n])
		select {
		case s.slots <- struct{}{}:
			s.rows.Go(func() {
				defer func() { <-s.slots }()
				s.take(context.WithoutCancel(ctx), row, from)
			})
		default:
			s.answer(from, numberOf(row), "later")
		}
	}
}

// take takes one row on and answers it. It waits for the bus, so that there is room for as many as csv-in-flight.
func (s *Service) take(ctx context.Context, row string, from netip.AddrPort) {
	err := fault.New(fault.Invalid, "the row is too long")
	if len(row) <= maxRow {
		err = s.publish(ctx, row, from)
	}
	s.answer(from, numberOf(row), outcome(err))
}

// publish returns nil once the bus has the row durably.
func (s *Service) publish(ctx context.Context, row string, from netip.AddrPort) error {
	fields, err := csv.NewReader(strings.NewReader(row)).Read()
	if err != nil || len(fields) < 4 || len(fields)%2 != 0 {
		return fault.New(fault.Invalid, "a row is TOKEN,NUMBER,telemetry|attributes,TIME,KEY,VALUE,…")
	}
	device, err := s.platform.Authenticate(ctx, transport.Credentials{Token: fields[0], From: from.Addr()})
	if err != nil {
		return err
	}
	publish, payload := s.platform.PublishTelemetry, document(fields[4:])
	switch {
	case fields[2] == "attributes":
		publish = s.platform.PublishAttributes
	case fields[2] != "telemetry":
		return fault.New(fault.Invalid, "a row is of telemetry or attributes")
	case fields[3] != "":
		payload = fmt.Sprintf(`{"ts":%s,"values":%s}`, literal(fields[3]), payload)
	}
	done := make(chan error, 1)
	for {
		err := publish(device, transport.Origin{Transport: protocol}, []byte(payload), func(err error) { done <- err })
		if err == nil {
			return <-done // within the bus's deadline
		}
		if !errors.Is(err, bus.ErrFull) {
			return err
		}
		<-s.platform.Room(device)
	}
}

// numberOf is the number a device gave its row, "" when it gave none that fits an answer.
func numberOf(row string) string {
	_, rest, _ := strings.Cut(row, ",")
	number, _, _ := strings.Cut(rest, ",")
	if len(number) > 20 || strings.ContainsAny(number, "\"\r\n") {
		return ""
	}
	return number
}

// answer tells a device what became of its row, in few bytes, so that nobody is flooded in another's name. A lost one is made
// up for by the device, which sends its row again.
func (s *Service) answer(to netip.AddrPort, number, what string) {
	_, _ = s.conn.WriteToUDPAddrPort([]byte(number+","+what+"\n"), to)
}

// document is a JSON object of keys and values.
func document(pairs []string) string {
	var text strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		key, _ := json.Marshal(pairs[i]) // text always is
		fmt.Fprintf(&text, ",%s:%s", key, literal(pairs[i+1]))
	}
	return "{" + strings.TrimPrefix(text.String(), ",") + "}"
}

// literal is a field as JSON: a number, true, false, an object or array as it stands, everything else as text.
func literal(field string) string {
	if json.Valid([]byte(field)) {
		return field
	}
	text, _ := json.Marshal(field) // text always is
	return string(text)
}

// outcome is what a device is told.
func outcome(err error) string {
	if errors.Is(err, transport.ErrTooLarge) {
		return "too large"
	}
	if err == nil {
		return "ok"
	}
	return cmp.Or(map[fault.Kind]string{
		fault.Invalid: "malformed", fault.Unauthenticated: "unknown", fault.Denied: "unknown", fault.Limited: "limited",
	}[fault.KindOf(err)], "later")
}
