package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/sluice-iot/sluice/tests/load"
)

// fleetOrder is the order of a fleet's rows on the page.
func fleetOrder() []string {
	return []string{"a1", "a2", "b", "c", "d", "h1", "h2", "i", "j1", "j2", "k", "l1", "l2"}
}

func (b *bench) fleetRows() []row {
	return append([]row{
		b.mqttRow("a1", 200, 16, map[string]float64{"the bus alone": 0.30, "mosquitto": 3}, map[string]float64{}),
		b.mqttRow("a2", 50, 1, map[string]float64{"mosquitto": 0.3}, nil),
		b.httpRow(),
		b.coapRow(),
		b.rowsRow(),
		b.killRow(),
		b.leaveRow(),
		b.fleetMemoryRow(),
		b.fleetStartRow(),
		b.transportStartRow(),
		b.sizeRow(),
	}, b.rpcRows("l", "a core node and an MQTT transport", b.fleetAsked, b.fleetRelayed)...)
}

// fleetOurs are a transport's process alone, whose calls this program answers, and beside a core node.
func (b *bench) fleetOurs(protocol string, generate generator, o load.Options) []side {
	run := func(ctx context.Context, f *fleet) (float64, error) {
		o := o
		o.Address = f.door(protocol)
		rate, err := steady(ctx, generate, o)
		return rate, errors.Join(err, f.end())
	}
	return []side{
		{"transport and broker alone", func(ctx context.Context, dir string) (rate float64, err error) {
			installed, err := b.fleet.install(ctx)
			if err != nil {
				return 0, err
			}
			f := &fleet{installed: installed, dir: dir}
			a := assignment{Role: "answers"}
			installed.tell(&a)
			answering, _, err := startRole(a)
			if err != nil {
				return 0, errors.Join(err, f.end())
			}
			defer func() { err = errors.Join(err, answering.stop()) }()
			if err := f.launch(crew{protocol + "-transport"}); err != nil {
				return 0, errors.Join(err, f.end())
			}
			if err := awaitReady(f.members[0].admin); err != nil {
				return 0, errors.Join(err, f.end())
			}
			return run(ctx, f)
		}},
		{"with a core node, storing", func(ctx context.Context, dir string) (float64, error) {
			f, err := b.startFleet(ctx, dir, crew{"core-node", protocol + "-transport"})
			if err != nil {
				return 0, err
			}
			if err := f.haveDevices(ctx, o.Clients); err != nil {
				return 0, errors.Join(err, f.end())
			}
			return run(ctx, f)
		}},
	}
}

// haveDevices adds what is not there of n devices as package load has them.
func (f *fleet) haveDevices(ctx context.Context, n int) error {
	had := f.installed.parts.devices
	if n > had {
		if err := f.addDevices(ctx, had, n); err != nil {
			return fmt.Errorf("add devices: %w", err)
		}
		f.installed.parts.devices = n
	}
	return nil
}

// drainedMessages is how many messages row d sends and stores.
const drainedMessages = 60_000

// rowsRow is row d: a bounded number of messages, as Kafka takes more in a second than Cassandra stores in ten.
func (b *bench) rowsRow() row {
	messages := drainedMessages
	if b.options.Short {
		messages = 10_000
	}
	o := load.Options{Clients: storeDevices, InFlight: 16, Duration: time.Hour, Messages: messages, Payload: load.Reading()}
	ours := func(nodes int) func(context.Context, string) (float64, error) {
		return func(ctx context.Context, dir string) (float64, error) {
			c := crew{"mqtt-transport"}
			for range nodes {
				c = append(c, "core-node")
			}
			f, err := b.startFleet(ctx, dir, c)
			if err != nil {
				return 0, err
			}
			if err := f.haveDevices(ctx, o.Clients); err != nil {
				return 0, errors.Join(err, f.end())
			}
			warm := o
			warm.Messages = messages / 10
			_, err = f.drained(ctx, warm)
			rate := 0.0
			if err == nil {
				rate, err = f.drained(ctx, o)
			}
			return rate, errors.Join(err, f.end())
		}
	}
	return row{
		id: "d", title: fmt.Sprintf("Device → chain → Cassandra, %s messages of 3 values, until all is stored", number(float64(messages))), unit: "messages/s",
		floors: map[string]float64{rawWriter: 0.35}, aims: map[string]float64{rawWriter: 0.5},
		sides: []side{
			{"MQTT transport and 1 core node", ours(1)},
			{"MQTT transport and 3 core nodes", ours(3)},
			{rawWriter, b.role("rows", assignment{Clients: storeDevices, Messages: messages})},
		},
	}
}

const rawWriter = "raw batched writer"

// idleTime is longer than the processes take to give back what their start has used (memory-return).
const idleTime = 25 * time.Second

// fleetMemoryRow is row i.
func (b *bench) fleetMemoryRow() row {
	idle := func(c crew) func(context.Context, string) (float64, error) {
		return func(ctx context.Context, dir string) (float64, error) {
			f, err := b.startFleet(ctx, dir, c)
			if err != nil {
				return 0, err
			}
			time.Sleep(idleTime)
			for _, m := range f.members {
				if one, err := m.resident(); err == nil {
					fmt.Fprintf(os.Stderr, "     %-16s %s MB\n", m.kind, number(one/1e6))
				}
			}
			bytes, err := f.resident()
			return bytes / 1e6, errors.Join(err, f.end())
		}
	}
	return row{
		id: "i", title: "Memory of all of an idle fleet's own processes together", unit: "MB", less: true, turns: min(3, b.options.Pairs),
		floors: map[string]float64{"": 150}, aims: map[string]float64{"": 60},
		sides: []side{
			{"one process of each of the four roles", idle(minimal())},
			{"3 core nodes, 2 MQTT, 2 HTTP, 1 CoAP", idle(large())},
		},
	}
}

func large() crew {
	return append(minimal(), "core-node", "core-node", "mqtt-transport", "http-transport")
}

// fleetStartRow is row j.
func (b *bench) fleetStartRow() row {
	return row{
		id: "j1", title: "Start of all roles at once, servers up and installed, to a reading acknowledged and seen by REST", unit: "ms", less: true,
		floors: map[string]float64{"": 1500}, aims: map[string]float64{"": 500},
		sides: []side{
			{"one process of each of the four roles", b.started(nil, minimal())},
			{"3 core nodes, 2 MQTT, 2 HTTP, 1 CoAP", b.started(nil, large())},
		},
	}
}

// transportStartRow is the same for a transport beside a fleet that runs.
func (b *bench) transportStartRow() row {
	return row{
		id: "j2", title: "Start of an MQTT transport beside a running core node, to a reading acknowledged", unit: "ms", less: true,
		floors: map[string]float64{"": 1500}, aims: map[string]float64{"": 150},
		sides: []side{{"MQTT QoS 1", b.started(crew{"core-node"}, crew{"mqtt-transport"})}},
	}
}

// started measures the start of late where before runs already.
func (b *bench) started(before, late crew) func(context.Context, string) (float64, error) {
	return func(ctx context.Context, dir string) (float64, error) {
		if err := b.knowDemo(ctx, dir); err != nil {
			return 0, err
		}
		f, err := b.startFleet(ctx, dir, before)
		if err != nil {
			return 0, err
		}
		began := time.Now()
		if err := f.launch(late); err != nil {
			return 0, errors.Join(err, f.end())
		}
		value := strconv.FormatInt(began.UnixNano(), 10)
		err = f.awaitReading(ctx, []byte(`{"started":`+value+`}`), began.Add(30*time.Second))
		acknowledged := time.Since(began)
		if err == nil && len(before) == 0 {
			err = f.awaitSeen(ctx, value, began.Add(30*time.Second))
		}
		seen := time.Since(began)
		fmt.Fprintf(os.Stderr, "     acknowledged after %s ms\n", number(milliseconds(acknowledged)))
		return milliseconds(seen), errors.Join(err, f.end())
	}
}

// knowDemo finds out, once, what it takes to ask for the demo device's values.
func (b *bench) knowDemo(ctx context.Context, dir string) error {
	if b.fleet.jwt != "" {
		return nil
	}
	f, err := b.startFleet(ctx, dir, crew{"core-node"})
	if err != nil {
		return err
	}
	var device struct{ ID struct{ ID string } }
	err = f.logIn(ctx)
	if err == nil {
		err = f.call(ctx, "/api/tenant/devices?deviceName=Test%20Device%20A1", nil, &device)
	}
	b.fleet.jwt, b.fleet.demoDevice = f.jwt, device.ID.ID
	return errors.Join(err, f.end())
}

// awaitSeen asks for the demo device's latest value until it is the one given.
func (f *fleet) awaitSeen(ctx context.Context, value string, deadline time.Time) error {
	f.jwt = f.installed.parts.jwt
	for {
		var latest map[string][]struct{ Value any }
		err := f.call(ctx, "/api/plugins/telemetry/DEVICE/"+f.installed.parts.demoDevice+"/values/timeseries?keys=started", nil, &latest)
		switch {
		case err == nil && len(latest["started"]) > 0 && latest["started"][0].Value == value:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("the reading %s is not seen, but %v: %w", value, latest, err)
		}
		time.Sleep(time.Millisecond)
	}
}

// sizeRow is row k.
func (b *bench) sizeRow() row {
	return row{
		id: "k", title: "The one binary of all roles, which with the root certificates is the image", unit: "MB", less: true, turns: 1,
		floors: map[string]float64{"": 45}, aims: map[string]float64{"": 25},
		sides: []side{
			{"as it is", func(context.Context, string) (float64, error) {
				info, err := os.Stat(b.binary)
				if err != nil {
					return 0, err
				}
				return float64(info.Size()) / 1e6, nil
			}},
			{"compressed by gzip", func(context.Context, string) (float64, error) {
				text, err := os.ReadFile(b.binary)
				if err != nil {
					return 0, err
				}
				var out bytes.Buffer
				w := gzip.NewWriter(&out)
				_, err = w.Write(text)
				return float64(out.Len()) / 1e6, errors.Join(err, w.Close())
			}},
		},
	}
}
