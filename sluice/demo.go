package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/process/logs"
	"github.com/sluice-iot/sluice/sluice/internal/board"
	"github.com/sluice-iot/sluice/sluice/internal/simulator"
	"github.com/sluice-iot/sluice/sluice/standalone"
)

// The demo's tenant, as its demo data has it.
const (
	demoUser     = "tenant@thingsboard.org"
	demoPassword = "tenant"
)

// demo is `sluice demo`.
type demo struct {
	standalone.Config `embed:""`

	Interval time.Duration `name:"demo-interval" default:"500ms" help:"How often each simulated device sends a reading; 0 for none."`
}

// Run starts the platform with demo data, simulated devices, and a board that shows what arrives.
func (d *demo) Run(ctx context.Context, inv process.Invocation) (err error) {
	begun := time.Now()
	if d.Data == "" {
		if d.Data, err = os.MkdirTemp("", "sluice-demo-"); err != nil {
			return fmt.Errorf("make a folder for the data: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(d.Data)) }()
	}
	d.Demo = true
	log := inv.Stderr
	if onTerminal := logs.IsTerminal(inv.Stdout); onTerminal {
		// Log lines would tear the board apart.
		file, err := d.openLog()
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }() // every line was written as it was logged
		log = file
	}
	return d.Serve(ctx, log, func(p *standalone.Platform, env process.Env) (process.Runner, error) {
		if err := welcome(inv.Stdout, d.Data, p.Addresses(), env, time.Since(begun)); err != nil {
			return nil, err
		}
		return d.show(p, env, inv.Stdout), nil
	})
}

func (d *demo) openLog() (*os.File, error) {
	if err := os.MkdirAll(d.Data, 0o700); err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(d.Data, "sluice.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	return file, nil
}

// show returns the simulated devices and the board.
func (d *demo) show(p *standalone.Platform, env process.Env, out io.Writer) process.Runner {
	at := p.Addresses()
	latest := &board.Board{}
	watcher := &board.Watcher{Base: "http://" + at.HTTP, User: demoUser, Password: demoPassword, Board: latest, Log: env.Log}
	screen := &board.Screen{Board: latest, Totals: totals(env.Gatherer), Out: out, Redraw: logs.IsTerminal(out)}
	parts := []process.Runner{watcher, screen}
	if d.Interval > 0 {
		parts = append(parts, simulator.New(demoDevices(), simulator.Addresses{MQTT: at.MQTT, HTTP: at.HTTP, CoAP: at.CoAP}, d.Interval))
	}
	return process.Sequence(parts...)
}

// demoDevices are the devices of the demo data that are simulated. Those called Test Device A
// are left to whoever wants to try: an MQTT device has one session at a time.
func demoDevices() []simulator.Device {
	wave := func(key string, middle, swing float64, period time.Duration) simulator.Sensor {
		return simulator.Sensor{Key: key, Middle: middle, Swing: swing, Period: period}
	}
	return []simulator.Device{
		{Name: "DHT11 Demo Device", Token: "DHT11_DEMO_TOKEN", Protocol: simulator.MQTT, Sensors: []simulator.Sensor{
			wave("temperature", 21, 4, time.Minute), wave("humidity", 55, 15, 90*time.Second),
		}},
		{Name: "Raspberry Pi Demo Device", Token: "RASPBERRY_PI_DEMO_TOKEN", Protocol: simulator.HTTP, Sensors: []simulator.Sensor{
			wave("cpuTemperature", 48, 6, 30*time.Second), wave("load", 0.7, 0.6, 20*time.Second),
		}},
		{Name: "Thermostat T1", Token: "T1_TEST_TOKEN", Protocol: simulator.CoAP, Sensors: []simulator.Sensor{
			wave("temperature", 19, 3, 2*time.Minute), wave("humidity", 45, 5, time.Minute),
		}},
		{Name: "Thermostat T2", Token: "T2_TEST_TOKEN", Protocol: simulator.MQTT, Sensors: []simulator.Sensor{
			wave("temperature", 23, 2, 80*time.Second), wave("humidity", 40, 8, 70*time.Second),
		}},
		{Name: "Test Device B1", Token: "B1_TEST_TOKEN", Protocol: simulator.HTTP, Sensors: []simulator.Sensor{wave("voltage", 230, 3, 15*time.Second)}},
		{Name: "Test Device C1", Token: "C1_TEST_TOKEN", Protocol: simulator.CoAP, Sensors: []simulator.Sensor{wave("pressure", 1013, 9, 3*time.Minute)}},
	}
}
