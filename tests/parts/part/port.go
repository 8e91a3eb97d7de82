package part

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are taken from below the range that outgoing connections use (32768 and up): there one that a stopped
// program left would be gone when it starts again.
const (
	lowestPort = 20000
	ports      = 12000
)

// FreeAddress returns an address on 127.0.0.1 that nothing listens on; network is "tcp" or "udp".
func FreeAddress(network string) (string, error) {
	var err error
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", lowestPort+rand.IntN(ports))
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
	seen := map[string]bool{}
	var found []string
	for len(found) < n {
		address, err := FreeAddress("tcp")
		if err != nil {
			return nil, err
		}
		if !seen[address] {
			seen[address] = true
			found = append(found, address)
		}
	}
	return found, nil
}
