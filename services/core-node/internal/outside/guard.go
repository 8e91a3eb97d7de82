package outside

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// ErrRefused is wrapped by the error of a connection to an address that is not public.
var ErrRefused = errors.New("the address is not public, and not allowed")

// Dial connects to host:port. Every address the name stands for is judged when it is connected to, so that a
// name cannot change between the judgement and the connection.
func (o *Outside) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: o.settings.DialTimeout, KeepAlive: 30 * time.Second}
	if o.settings.Guard && !o.allowed.names[strings.ToLower(address)] {
		dialer.ControlContext = o.judge
	}
	connection, err := dialer.DialContext(ctx, network, address)
	switch {
	case errors.Is(err, ErrRefused):
		o.metrics.refused.Inc()
		return nil, fmt.Errorf("connect to %s: %w", address, ErrRefused)
	case err != nil:
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	return connection, nil
}

// DialOwn connects to a server that the operator named: it is not judged.
func (o *Outside) DialOwn(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: o.settings.DialTimeout, KeepAlive: 30 * time.Second}
	connection, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	return connection, nil
}

func (o *Outside) judge(_ context.Context, _, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	ip := target.Addr().Unmap().WithZone("")
	if public(ip) {
		return nil
	}
	for _, network := range o.allowed.networks {
		if network.Contains(ip) {
			return nil
		}
	}
	return ErrRefused
}

// special are networks that are global by their form but not public: shared by carriers, of tests and documents, that carry
// an IPv4 address in them, of clouds' own services.
var special = networks(
	"0.0.0.0/8", "100.64.0.0/10", "168.63.129.16/32", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "240.0.0.0/4", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "fec0::/10",
)

func networks(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}

// public reports whether anybody on the internet may have the address.
func public(ip netip.Addr) bool {
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false
	}
	for _, network := range special {
		if network.Contains(ip) {
			return false
		}
	}
	return true
}
