package proxy

import (
	"fmt"
	"net/netip"
)

// Trusted are the addresses whose PROXY header is believed.
type Trusted []netip.Prefix

// ParseTrusted reads networks ("10.0.0.0/8") and single addresses.
func ParseTrusted(list []string) (Trusted, error) {
	var trusted Trusted
	for _, text := range list {
		network, err := netip.ParsePrefix(text)
		if address, single := netip.ParseAddr(text); single == nil {
			network, err = address.Prefix(address.BitLen())
		}
		if err != nil {
			return nil, fmt.Errorf("%q is neither a network nor an address: %w", text, err)
		}
		trusted = append(trusted, network.Masked())
	}
	return trusted, nil
}

// Contains reports whether address is one of them.
func (t Trusted) Contains(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	for _, network := range t {
		if network.Contains(address) {
			return true
		}
	}
	return false
}
