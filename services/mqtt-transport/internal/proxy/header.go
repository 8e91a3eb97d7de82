// Package proxy reads the header with which a load balancer says on whose behalf it connects: the
// PROXY protocol, version 2 (haproxy.org, proxy-protocol.txt §2.2).
package proxy

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// signature is how a header begins. Neither MQTT's CONNECT nor TLS begins with its first byte.
const signature = "\r\n\r\n\x00\r\nQUIT\n"

// Sizes in bytes.
const (
	fixedBytes = len(signature) + 4
	// MaxBytes is the largest header that is taken: what one segment of the smallest IPv4 packet
	// holds, which senders keep to.
	MaxBytes = 536
	// The addresses of both sides.
	inet4Bytes = 12
	inet6Bytes = 36
)

// What can be wrong with a header. ErrShort is no fault: more bytes are needed.
var (
	ErrShort     = errors.New("PROXY header is not complete")
	ErrMalformed = errors.New("PROXY header is malformed")
	ErrTooLong   = errors.New("PROXY header is too long")
)

// Parse reads the header that b begins with: the client's address, and the header's size. The size
// is 0 when b does not begin with one. The address is not valid when the balancer speaks for itself
// (LOCAL), or for a client that has no IP address. b is looked at anew each time: call Parse again
// with more of it after ErrShort. What follows the addresses is passed over.
func Parse(b []byte) (client netip.AddrPort, size int, err error) {
	begun := min(len(b), len(signature))
	switch {
	case begun == 0:
		return client, 0, ErrShort
	case b[0] != signature[0]:
		return client, 0, nil
	case string(b[:begun]) != signature[:begun]:
		return client, 0, ErrMalformed
	case len(b) < fixedBytes:
		return client, 0, ErrShort
	}
	command, family := b[12], b[13]
	length := int(binary.BigEndian.Uint16(b[14:]))
	size = fixedBytes + length
	switch {
	case size > MaxBytes:
		return client, 0, ErrTooLong
	case len(b) < size:
		return client, 0, ErrShort
	}
	switch command {
	case 0x20: // LOCAL: whatever addresses there are mean nothing
		return client, size, nil
	case 0x21: // PROXY
		client, err = source(family, b[fixedBytes:size])
		return client, size, err
	}
	return client, 0, ErrMalformed
}

// source reads the client's address.
func source(family byte, b []byte) (client netip.AddrPort, err error) {
	switch family {
	case 0x00, 0x31: // not told; a Unix socket
		return client, nil
	case 0x11: // TCP over IPv4
		if len(b) >= inet4Bytes {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), binary.BigEndian.Uint16(b[8:])), nil
		}
	case 0x21: // TCP over IPv6
		if len(b) >= inet6Bytes {
			return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)).Unmap(), binary.BigEndian.Uint16(b[32:])), nil
		}
	}
	return client, ErrMalformed
}
