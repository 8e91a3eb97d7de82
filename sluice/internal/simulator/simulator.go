// Package simulator is devices made of software: each has a token, a protocol and a few
// sensors, and sends readings over a real socket as a device would.
package simulator

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Protocol is how a device talks to the platform.
type Protocol string

// The protocols there are.
const (
	MQTT Protocol = "MQTT"
	HTTP Protocol = "HTTP"
	CoAP Protocol = "CoAP"
)

// Device is one simulated device.
type Device struct {
	Name     string
	Token    string
	Protocol Protocol
	Sensors  []Sensor
}

// Addresses are where the platform listens, each as host:port.
type Addresses struct{ MQTT, HTTP, CoAP string }

// Times a device keeps.
const (
	answerTimeout = 10 * time.Second // for one acknowledgement
	firstPause    = 100 * time.Millisecond
	longestPause  = 5 * time.Second // between attempts to reach the platform
)

// Simulator runs devices. Make it with New.
type Simulator struct {
	devices  []Device
	at       Addresses
	interval time.Duration

	acknowledged, failed atomic.Int64
}

// New returns a simulator whose devices each send one reading per interval.
func New(devices []Device, at Addresses, interval time.Duration) *Simulator {
	return &Simulator{devices: devices, at: at, interval: interval}
}

// Acknowledged is how many readings the platform has acknowledged so far.
func (s *Simulator) Acknowledged() int64 { return s.acknowledged.Load() }

// Failed is how many attempts to connect or to send went wrong so far.
func (s *Simulator) Failed() int64 { return s.failed.Load() }

// Run runs the devices until ctx ends. What goes wrong is counted and tried again, as a device in the field would.
func (s *Simulator) Run(ctx context.Context) error {
	var running sync.WaitGroup
	for i, device := range s.devices {
		running.Go(func() {
			// The devices spread over the interval instead of speaking at once.
			if !pause(ctx, s.interval*time.Duration(i)/time.Duration(len(s.devices))) {
				return
			}
			s.live(ctx, device)
		})
	}
	running.Wait()
	return nil
}

// live is a device's life: connect, send, and when that fails pause ever longer and connect again.
func (s *Simulator) live(ctx context.Context, device Device) {
	wait := firstPause
	for ctx.Err() == nil {
		before := s.acknowledged.Load()
		s.session(ctx, device)
		if ctx.Err() != nil {
			return
		}
		s.failed.Add(1)
		if s.acknowledged.Load() > before {
			wait = firstPause
		}
		if !pause(ctx, wait/2+rand.N(wait/2)) {
			return
		}
		wait = min(2*wait, longestPause)
	}
}

// session sends readings until one is not acknowledged.
func (s *Simulator) session(ctx context.Context, device Device) {
	link, err := s.dial(ctx, device)
	if err != nil {
		return
	}
	defer link.close()
	for begun := time.Now(); ; {
		one, cancel := context.WithTimeout(ctx, answerTimeout)
		err := link.send(one, reading(device.Sensors, time.Since(begun)))
		cancel()
		if err != nil {
			return
		}
		s.acknowledged.Add(1)
		if !pause(ctx, s.interval) {
			return
		}
	}
}

// link is a device's way to the platform. It is used by one goroutine.
type link interface {
	// send publishes one reading; nil means the platform has acknowledged it.
	send(ctx context.Context, payload []byte) error
	close()
}

func (s *Simulator) dial(ctx context.Context, d Device) (link, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	switch d.Protocol {
	case MQTT:
		return dialMQTT(ctx, s.at.MQTT, d.Token)
	case HTTP:
		return newHTTPLink(s.at.HTTP, d.Token), nil
	case CoAP:
		return dialCoAP(ctx, s.at.CoAP, d.Token)
	default:
		return nil, fmt.Errorf("device %s: unknown protocol %q", d.Name, d.Protocol)
	}
}

// pause waits for d and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
