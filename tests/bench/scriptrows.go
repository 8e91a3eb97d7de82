package main

import (
	"context"
	_ "embed"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/script"
	"github.com/sluice-iot/sluice/tests/load"
)

// nodeExecutor is the program that the Node sides run.
//
//go:embed node-executor.js
var nodeExecutor []byte

// What runs scripts.
const (
	nodeSandboxed = "sandbox"
	nodePlain     = "plain"
)

// The names of the Node sides.
const (
	besideSandboxed = "Node, a context for each call"
	besidePlain     = "Node, no sandbox"
)

// The scripts that are measured.
const (
	filterBody    = "return msg.temperature > 20;"
	transformBody = "metadata.seen = msgType; msg.fahrenheit = msg.temperature * 1.8 + 32; return {msg: msg, metadata: metadata, msgType: msgType};"
)

// benchCall is a call of a script whose body goes along or not.
func benchCall(body string) script.Call {
	parameters := []string{"msg", "metadata", "msgType"}
	tenant := ident.TenantID{ID: ident.ID{1}}
	return script.Call{
		Script: script.Identify(tenant, parameters, body), Tenant: tenant, Parameters: parameters, Body: body,
		Args: []string{
			`{"temperature":21.5,"humidity":60,"pressure":1013.25}`,
			`{"deviceName":"Meter 1","deviceType":"default","ts":"1700000000000"}`, "POST_TELEMETRY_REQUEST",
		},
		Budget: time.Minute, Timeout: 500 * time.Millisecond,
	}
}

// scriptRows are those of tenants' scripts.
func (b *bench) scriptRows() []row {
	return []row{
		{
			id: "f1", title: "Calls of a filter script over the broker, 500 in flight", unit: "calls/s",
			floors: map[string]float64{besideSandboxed: 12, besidePlain: 0}, aims: map[string]float64{besideSandboxed: 30, besidePlain: 1.2},
			sides: b.executors(500, report.perSecond),
		},
		{
			id: "f2", title: "Calls of a filter script, in its process: per second of processor time", unit: "calls/s",
			floors: map[string]float64{besideSandboxed: 20, besidePlain: 0}, aims: map[string]float64{besideSandboxed: 0, besidePlain: 1},
			sides: b.evaluators(filterBody),
		},
		{
			id: "f3", title: "Calls of a transformation script, in its process: per second of processor time", unit: "calls/s",
			floors: map[string]float64{besideSandboxed: 20, besidePlain: 0}, aims: map[string]float64{besideSandboxed: 0, besidePlain: 0.3},
			sides: b.evaluators(transformBody),
		},
		{
			id: "f4", title: "A call of a filter script over the broker, alone: p50", unit: "ms", less: true,
			floors: map[string]float64{"": 0.5}, aims: map[string]float64{},
			sides: b.executors(1, func(r report) float64 { return float64(r.P50.Microseconds()) / 1000 }),
		},
	}
}

// executors are who answers calls that come over a broker.
func (b *bench) executors(window int, value func(report) float64) (sides []side) {
	for _, one := range []struct{ name, node string }{{"sluice js-executor", ""}, {besideSandboxed, nodeSandboxed}, {besidePlain, nodePlain}} {
		sides = append(sides, side{one.name, func(ctx context.Context, dir string) (float64, error) {
			c, r, err := startRole(assignment{Role: "scripts", Dir: dir, Memory: true, InFlight: window, Duration: b.options.Time, Binary: b.binary, Node: one.node})
			if err != nil {
				return 0, err
			}
			return value(r), c.stop()
		}})
	}
	return sides
}

// evaluators are processes that run scripts, without a bus.
func (b *bench) evaluators(body string) (sides []side) {
	sides = append(sides, side{"sluice js-executor", func(ctx context.Context, _ string) (float64, error) {
		return evaluateOurs(ctx, b.binary, body, b.options.Time)
	}})
	for _, one := range []struct{ name, node string }{{besideSandboxed, nodeSandboxed}, {besidePlain, nodePlain}} {
		sides = append(sides, side{one.name, func(ctx context.Context, dir string) (float64, error) {
			return evaluateNode(ctx, dir, one.node, body, b.options.Time)
		}})
	}
	return sides
}

// installNode writes the Node executor's program into dir and returns the command that runs it.
func installNode(dir, node string) ([]string, error) {
	path := filepath.Join(dir, "node-executor.js")
	return []string{peer("node", "/usr/bin/node"), path, node}, os.WriteFile(path, nodeExecutor, 0o600)
}

// scriptedStoreRow is row d1 with a filter and a transformation in the chain.
func (b *bench) scriptedStoreRow() row {
	// Less time than for d1, as what is sent in it takes many times as long to be done with.
	o := load.Options{Clients: storeDevices, InFlight: 16, Duration: b.options.Time / 4, Payload: load.Reading()}
	drained := func(prepare func(context.Context, *platform) error) func(context.Context, string) (float64, error) {
		return func(ctx context.Context, dir string) (float64, error) {
			p, err := b.startLoaded(ctx, dir, o.Clients)
			if err != nil {
				return 0, err
			}
			if err := prepare(ctx, p); err != nil {
				return 0, errors.Join(err, p.stop())
			}
			rate, err := p.drained(ctx, o)
			return rate, errors.Join(err, p.stop())
		}
	}
	return row{
		id: "d3", title: "Device → chain with two scripts → Pebble, 3 values a message, until all is stored", unit: "messages/s",
		sides: []side{
			{"a filter and a transformation", drained(func(ctx context.Context, p *platform) error { return p.useScripts(ctx) })},
			{"no scripts", drained(func(context.Context, *platform) error { return nil })},
		},
	}
}
