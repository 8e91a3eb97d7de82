package part

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports are taken from below the range that outgoing connections use (32768 and up): there one that a stopped
// program left would be gone when it starts again.
const (
	lowestPort = 20000
	blocks     = 12
	blockPorts = 1000
)

// block is the ports of this process alone: another's test may run beside it, and would be given the port of a program
// that was killed and is to start again. It is claimed by listening on its first port as long as the process lives.
type block struct {
	mu    sync.Mutex
	claim net.Listener
	first int // 0: not claimed yet
	given int // how many were tried; none is given twice before all were, since whoever was given one may not listen on it yet
}

var own block

// FreeAddress returns an address on 127.0.0.1 that nothing listens on and that was not given before; network is "tcp" or "udp".
func FreeAddress(network string) (string, error) {
	own.mu.Lock()
	defer own.mu.Unlock()
	if err := own.take(); err != nil {
		return "", err
	}
	var err error
	for range 100 {
		address := local(own.first + 1 + own.given%(blockPorts-1))
		own.given++
		if err = free(network, address); err == nil {
			return address, nil
		}
	}
	return "", fmt.Errorf("find a free port: %w", err)
}

func (b *block) take() error {
	if b.first != 0 {
		return nil
	}
	var refused []error
	for _, i := range rand.Perm(blocks) {
		first := lowestPort + i*blockPorts
		claim, err := net.Listen("tcp", local(first))
		if err == nil {
			b.claim, b.first = claim, first
			return nil
		}
		refused = append(refused, err)
	}
	return fmt.Errorf("claim a block of ports: all %d are taken: %w", blocks, errors.Join(refused...))
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

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
