package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// startMosquitto starts mosquitto as its fastest self: no persistence, no Nagle, no bound on
// what is in flight.
func startMosquitto(dir string) (*child, string, error) {
	address, err := freeAddress("tcp")
	if err != nil {
		return nil, "", err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, "", err
	}
	settings := filepath.Join(dir, "mosquitto.conf")
	text := "listener " + port + " 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\nmax_inflight_messages 0\nlog_dest none\n"
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		return nil, "", err
	}
	c, err := start(nil, peer("mosquitto", "/usr/sbin/mosquitto"), "-c", settings)
	if err != nil {
		return nil, "", fmt.Errorf("start mosquitto (Debian package mosquitto): %w", err)
	}
	return c, address, awaitTCP(c, address)
}

// startLibcoap starts libcoap's example server, in which a POST makes or replaces a resource.
func startLibcoap() (*child, string, error) {
	address, err := freeAddress("udp")
	if err != nil {
		return nil, "", err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, "", err
	}
	c, err := start(nil, peer("coap-server-notls", "/usr/bin/coap-server-notls"), "-A", "127.0.0.1", "-p", port, "-d", "10000", "-v", "0")
	if err != nil {
		return nil, "", fmt.Errorf("start coap-server-notls (Debian package libcoap3-bin): %w", err)
	}
	time.Sleep(settle) // it says nothing when it is ready; the clients send again what it missed
	return c, address, nil
}

// peer finds a program, also where root's path would have it.
func peer(name, elsewhere string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return elsewhere
}

var errNotUp = errors.New("does not listen")

func awaitTCP(c *child, address string) error {
	for range 500 {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn.Close()
		}
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Errorf("%s: %w", c.cmd.Path, errors.Join(errNotUp, c.stop()))
}

// freeAddress returns a loopback address that nobody listened on a moment ago.
func freeAddress(network string) (string, error) {
	if network == "udp" {
		conn, err := net.ListenPacket(network, loopback)
		if err != nil {
			return "", err
		}
		return conn.LocalAddr().String(), conn.Close()
	}
	listener, err := net.Listen(network, loopback)
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
