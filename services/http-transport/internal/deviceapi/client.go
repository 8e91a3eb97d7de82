package deviceapi

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/sluice-iot/sluice/transport"
)

// Proxies are the networks whose X-Forwarded-For is believed.
type Proxies []netip.Prefix

// ParseProxies reads networks ("10.0.0.0/8") and single addresses.
func ParseProxies(list []string) (Proxies, error) {
	var proxies Proxies
	for _, text := range list {
		network, err := netip.ParsePrefix(text)
		if address, single := netip.ParseAddr(text); single == nil {
			network, err = address.Prefix(address.BitLen())
		}
		if err != nil {
			return nil, fmt.Errorf("%q is neither a network nor an address: %w", text, err)
		}
		proxies = append(proxies, network.Masked())
	}
	return proxies, nil
}

// credentials are the token and where it comes from.
func (a *API) credentials(r *http.Request, token string) transport.Credentials {
	return transport.Credentials{Token: token, From: a.client(r)}
}

// client is the address that a request comes from: behind a proxy, the last that the proxy names. The zero Addr is none.
func (a *API) client(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	address := peer.Addr().Unmap().WithZone("")
	for _, network := range a.limits.Proxies {
		if !network.Contains(address) {
			continue
		}
		named := r.Header.Values("X-Forwarded-For")
		if len(named) == 0 {
			break
		}
		last := named[len(named)-1]
		client, err := netip.ParseAddr(strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:]))
		if err != nil {
			return netip.Addr{}
		}
		return client.Unmap()
	}
	return address
}
