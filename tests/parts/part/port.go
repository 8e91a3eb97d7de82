package part

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
)

// Ports are taken from below the range that outgoing connections use (32768 and up): there one that a stopped
// program left would be gone when it starts again.
const (
	lowestPort = 20000
	ports      = 12000
)

// portsGiven counts the ports that this process has tried, from a random one on, so that none is given twice before all
// were: whoever was given one may not listen on it yet.
var portsGiven = sync.OnceValue(func() *atomic.Uint32 {
	var n atomic.Uint32
	n.Store(rand.Uint32N(ports))
	return &n
})

// FreeAddress returns an address on 127.0.0.1 that nothing listens on and that was not given before; network is "tcp" or "udp".
func FreeAddress(network string) (string, error) {
	var err error
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", lowestPort+portsGiven().Add(1)%ports)
		if err = free(network, address); err == nil {
			return address, nil
		}
	}
	return "", fmt.Errorf("find a free port: %w", err)
}

func free(network, address string) error {
	if network == "udp" {
		conn, err := net.ListenPacket(network, address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	return listener.Close()
}

// freeAddresses returns n different ones.
func freeAddresses(n int) ([]string, error) {
	var found []string
	for range n {
		address, err := FreeAddress("tcp")
		if err != nil {
			return nil, err
		}
		found = append(found, address)
	}
	return found, nil
}
