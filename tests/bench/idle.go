package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sluice-iot/sluice/tests/load"
)

const (
	idleConnections = 10_000
	// quiet is how long a process is left alone before its memory is looked at.
	quiet = 3 * time.Second
)

// connectionRow is row e.
func (b *bench) connectionRow() row {
	return row{
		id: "e", title: "Memory per idle MQTT connection, at 10,000", unit: "bytes", less: true,
		floors: map[string]float64{"": 5 * 1024}, aims: map[string]float64{},
		sides: []side{
			{"transport and broker alone, garbage collected", b.idleEdge((*child).collect)},
			{"transport and broker alone, as it stands", b.idleEdge(func(*child) error { return nil })},
			{"mosquitto", func(ctx context.Context, dir string) (float64, error) {
				c, address, err := startMosquitto(dir)
				if err != nil {
					return 0, err
				}
				return perConnection(ctx, c, address, func(*child) error { return nil })
			}},
		},
	}
}

func (b *bench) idleEdge(before func(*child) error) func(context.Context, string) (float64, error) {
	return func(ctx context.Context, dir string) (float64, error) {
		c, r, err := startRole(assignment{Role: "edge", Dir: dir})
		if err != nil {
			return 0, err
		}
		return perConnection(ctx, c, r.MQTT, before)
	}
}

// perConnection returns what c's memory grows by for each connection that is open and silent;
// look is called before each look at it.
func perConnection(ctx context.Context, c *child, address string, look func(*child) error) (bytes float64, err error) {
	defer func() { err = errors.Join(err, c.stop()) }()
	time.Sleep(quiet)
	if err := look(c); err != nil {
		return 0, err
	}
	before, err := c.resident()
	if err != nil {
		return 0, err
	}
	closeAll, err := load.Idle(ctx, load.Options{Address: address, Clients: idleConnections})
	if err != nil {
		return 0, err
	}
	defer closeAll()
	time.Sleep(quiet)
	if err := look(c); err != nil {
		return 0, err
	}
	after, err := c.resident()
	return (after - before) / idleConnections, err
}

// allowFiles lets this process, and those it starts, have n files open.
func allowFiles(n uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Cur >= n {
		return nil
	}
	limit.Cur, limit.Max = n, max(n, limit.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("allow %d open files: %w", n, err)
	}
	return nil
}

// memoryRow is row i.
func (b *bench) memoryRow() row {
	return row{
		id: "i", title: "Memory of an idle standalone process", unit: "MB", less: true,
		floors: map[string]float64{"": 60}, aims: map[string]float64{"": 35},
		sides: []side{{"everything on, nothing to do", func(_ context.Context, dir string) (bytes float64, err error) {
			p, err := b.startPlatform("standalone", filepath.Join(dir, "data"))
			if err != nil {
				return 0, err
			}
			defer func() { err = errors.Join(err, p.stop()) }()
			time.Sleep(2 * quiet)
			bytes, err = p.resident()
			return bytes / 1e6, err
		}}},
	}
}

// startRow is row j.
func (b *bench) startRow() row {
	return row{
		id: "j", title: "Start of standalone, on the data of a demo, to its first acknowledged reading", unit: "ms", less: true,
		floors: map[string]float64{"": 500}, aims: map[string]float64{},
		sides: []side{{"everything on, MQTT QoS 1", func(ctx context.Context, dir string) (float64, error) {
			data := filepath.Join(dir, "data")
			made, err := b.startPlatform("demo", data)
			if err != nil {
				return 0, err
			}
			if err := made.stop(); err != nil {
				return 0, err
			}
			start := time.Now()
			p, err := b.launch("standalone", data)
			if err != nil {
				return 0, err
			}
			err = p.awaitReading(ctx, load.Reading(), start.Add(20*time.Second))
			taken := time.Since(start)
			return float64(taken.Microseconds()) / 1000, errors.Join(err, p.stop())
		}}},
	}
}

// awaitReading sends a reading until it is acknowledged.
func (d *doors) awaitReading(ctx context.Context, reading []byte, deadline time.Time) error {
	for {
		device, err := load.Connect(ctx, d.mqtt, demoToken)
		if err == nil {
			err = device.Publish(reading)
			device.Close()
		}
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}
