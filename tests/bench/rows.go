package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-iot/sluice/tests/load"
)

// standaloneOrder is the order of the rows of one process on the page.
func standaloneOrder() []string {
	return []string{"a1", "a2", "b", "c", "c2", "d1", "d2", "d3", "e", "f1", "f2", "f3", "f4", "g1", "g2", "g3", "g4", "i", "j", "k1", "k2"}
}

// rows are the lines of the table, in its order.
func (b *bench) rows() []row {
	if b.options.Fleet {
		return b.fleetRows()
	}
	rows := []row{
		b.mqttRow("a1", 200, 16, map[string]float64{"the bus alone": 0.30, "mosquitto": 3}, map[string]float64{"the bus alone": 0.45, "mosquitto": 5}),
		b.mqttRow("a2", 50, 1, map[string]float64{"mosquitto": 0.35}, nil),
		b.httpRow(),
		b.coapRow(),
		b.dtlsRow(),
		b.storeRow(),
		b.sustainedRow(),
		b.scriptedStoreRow(),
		b.connectionRow(),
	}
	rows = append(rows, b.scriptRows()...)
	rows = append(rows, b.liveRows()...)
	rows = append(rows, b.memoryRow(), b.startRow())
	return append(rows, b.rpcRows("k", "everything on", b.asked, b.relayed)...)
}

func (b *bench) mqttRow(id string, clients, inFlight int, floors, aims map[string]float64) row {
	o := load.Options{Clients: clients, InFlight: inFlight, Duration: b.options.Time, Payload: load.TimedReading()}
	a := assignment{Clients: clients, InFlight: inFlight, Duration: b.options.Time}
	return row{
		id: id, title: fmt.Sprintf("MQTT QoS 1 acknowledged by the bus, %d connections × %d in flight", clients, inFlight), unit: "messages/s",
		floors: floors, aims: aims,
		sides: append(b.ours("mqtt", load.MQTT, o),
			side{"the bus alone", b.role("bus", a)},
			side{"kafka-go Writer", b.role("writer", a)},
			side{"mosquitto", func(ctx context.Context, dir string) (float64, error) {
				c, address, err := startMosquitto(dir)
				if err != nil {
					return 0, err
				}
				return loaded(ctx, c, load.MQTT, o, address)
			}},
		),
	}
}

// ours are Sluice's sides of a row about one transport, "mqtt", "http" or "coap".
func (b *bench) ours(protocol string, generate generator, o load.Options) []side {
	if b.options.Fleet {
		return b.fleetOurs(protocol, generate, o)
	}
	return []side{
		{"transport and broker alone", b.edge(generate, o, func(r report) string {
			return map[string]string{"mqtt": r.MQTT, "http": r.HTTP, "coap": r.CoAP}[protocol]
		})},
		{"everything on", b.everything(generate, o, func(p *platform) string { return p.door(protocol) })},
	}
}

func (b *bench) httpRow() row {
	o := load.Options{Clients: 64, Duration: b.options.Time, Payload: load.Reading()}
	return row{
		id: "b", title: "HTTP POST, 64 keep-alive connections", unit: "requests/s",
		floors: map[string]float64{"bare net/http handler": 0.45}, aims: map[string]float64{"bare net/http handler": 0.8},
		sides: append(b.ours("http", load.HTTP, o),
			side{"bare net/http handler", func(ctx context.Context, _ string) (float64, error) {
				c, r, err := startRole(assignment{Role: "http"})
				if err != nil {
					return 0, err
				}
				return loaded(ctx, c, load.HTTP, o, r.HTTP)
			}},
		),
	}
}

func (b *bench) coapRow() row {
	o := load.Options{Clients: 200, Duration: b.options.Time, Payload: load.Reading()}
	return row{
		id: "c", title: "CoAP CON POST, 200 clients", unit: "requests/s",
		floors: map[string]float64{"libcoap": 0.8}, aims: map[string]float64{"libcoap": 1.5},
		sides: append(b.ours("coap", load.CoAP, o),
			side{"libcoap", func(ctx context.Context, _ string) (float64, error) {
				c, address, err := startLibcoap()
				if err != nil {
					return 0, err
				}
				return loaded(ctx, c, load.CoAP, o, address)
			}},
		),
	}
}

// dtlsRow is what the encryption costs: the same devices with and without it.
func (b *bench) dtlsRow() row {
	o := load.Options{Clients: 200, Duration: b.options.Time, Payload: load.Reading()}
	return row{
		id: "c2", title: "CoAP CON POST over DTLS, 200 connections", unit: "requests/s",
		floors: map[string]float64{"the same without DTLS": 0.5},
		sides: []side{
			{"transport and broker alone", b.edge(load.CoAPS, o, func(r report) string { return r.CoAPS })},
			{"the same without DTLS", b.edge(load.CoAP, o, func(r report) string { return r.CoAP })},
		},
	}
}

// generator is one of package load's.
type generator func(context.Context, load.Options) (load.Result, error)

// loaded loads c, which listens on address, stops it and returns the rate.
func loaded(ctx context.Context, c *child, generate generator, o load.Options, address string) (float64, error) {
	o.Address = address
	rate, err := steady(ctx, generate, o)
	if stopErr := c.stop(); err == nil {
		err = stopErr
	}
	return rate, err
}

// warmUp is how long what is measured for d is loaded before: connections, caches, first batches.
func warmUp(d time.Duration) time.Duration { return min(d/4, 500*time.Millisecond) }

func steady(ctx context.Context, generate generator, o load.Options) (float64, error) {
	warm := o
	warm.Duration = warmUp(o.Duration)
	if _, err := generate(ctx, warm); err != nil {
		return 0, fmt.Errorf("warm up: %w", err)
	}
	r, err := generate(ctx, o)
	if err != nil {
		return 0, err
	}
	if r.Refused > 0 || r.Lost > 0 {
		return 0, fmt.Errorf("%d messages acknowledged, %d refused, %d lost", r.Acknowledged, r.Refused, r.Lost)
	}
	return r.PerSecond(), nil
}

// edge measures transport and broker alone.
func (b *bench) edge(generate generator, o load.Options, address func(report) string) func(context.Context, string) (float64, error) {
	return func(ctx context.Context, dir string) (float64, error) {
		c, r, err := startRole(assignment{Role: "edge", Dir: dir})
		if err != nil {
			return 0, err
		}
		return loaded(ctx, c, generate, o, address(r))
	}
}

// role measures a role that loads itself.
func (b *bench) role(name string, a assignment) func(context.Context, string) (float64, error) {
	return func(ctx context.Context, dir string) (rate float64, err error) {
		a := a
		a.Role, a.Dir = name, dir
		if b.fleet != nil {
			installed, err := b.fleet.install(ctx)
			if err != nil {
				return 0, err
			}
			defer func() { err = errors.Join(err, installed.remove()) }()
			installed.tell(&a)
		}
		c, r, err := startRole(a)
		if err != nil {
			return 0, err
		}
		return r.perSecond(), c.stop()
	}
}
