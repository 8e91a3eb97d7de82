package system

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/tests/system/ledger"
)

// gatewayLoad is how much gateways are made to carry.
type gatewayLoad struct {
	gateways, devices int // devices behind each
	readings          int // a second, over all
	time              time.Duration
	batch             int // devices that one message speaks of
	residentKB        int // for each device, at most
}

// TestGatewayLoad has a few gateways carry many devices, and holds what was acknowledged against what a query shows. FULL=1
// asks for ten thousand devices for a minute.
func TestGatewayLoad(t *testing.T) {
	load := gatewayLoad{gateways: 2, devices: 500, readings: 2000, time: 5 * time.Second, batch: 50, residentKB: 200}
	if os.Getenv("FULL") == "1" {
		load = gatewayLoad{gateways: 10, devices: 1000, readings: 5000, time: time.Minute, batch: 50, residentKB: residentKB}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute) // Cassandra makes some 30 devices a second on two cores
	defer cancel()
	platform := newPlatform(ctx, t)
	if err := platform.Start(ctx); err != nil {
		t.Fatal(err)
	}
	tenant := firstTenant(ctx, t, platform)
	before, err := ResidentKB(platform)
	if err != nil {
		t.Fatal(err)
	}
	gateways := make([]*loadedGateway, load.gateways)
	began := time.Now()
	inParallel(len(gateways), func(i int) { gateways[i] = loadGateway(ctx, t, platform.Doors(), tenant, load, i) })
	if t.Failed() {
		return
	}
	created := time.Since(began)
	began = time.Now()
	inParallel(len(gateways), func(i int) { gateways[i].run(load) })
	ran := time.Since(began)
	after, err := ResidentKB(platform)
	if err != nil {
		t.Fatal(err)
	}
	sent, acknowledged, stored := 0, 0, 0
	for _, g := range gateways {
		v := g.check(ctx, tenant)
		sent, acknowledged, stored = sent+v.Sent, acknowledged+v.Acknowledged, stored+v.Stored
	}
	devices := load.gateways * load.devices
	rate := float64(sent-devices) / ran.Seconds() // each device's first reading created it
	perDevice := (after - before) / devices
	t.Logf("%d devices behind %d gateways, created in %.1f s: %d readings sent, %.0f a second for %.1f s, %d acknowledged, %d stored; resident %d → %d KB, %d KB for each device",
		devices, load.gateways, created.Seconds(), sent, rate, ran.Seconds(), acknowledged, stored, before, after, perDevice)
	if acknowledged != sent || stored != sent {
		t.Errorf("sent %d, acknowledged %d, stored %d", sent, acknowledged, stored)
	}
	if rate < float64(load.readings)*0.9 && os.Getenv("FULL") == "1" {
		t.Errorf("%.0f readings a second, want %d", rate, load.readings)
	}
	if perDevice > load.residentKB {
		t.Errorf("%d KB for each device, want at most %d", perDevice, load.residentKB)
	}
}

// inParallel calls do for every index below n, each in a goroutine of its own, and waits for all.
func inParallel(n int, do func(int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { do(i) })
	}
	all.Wait()
}

// loadedGateway is a gateway's connection with the accounts of the devices behind it.
type loadedGateway struct {
	*mqttClient
	name    string
	devices []*ledger.Device

	mu      sync.Mutex
	flying  map[uint16][]sentReading
	landed  chan struct{} // one for each message that was acknowledged
	reading chan struct{} // closed when the reader has ended
}

type sentReading struct {
	device *ledger.Device
	n      int
}

// loadGateway makes a gateway, connects it and has its devices created.
func loadGateway(ctx context.Context, t *testing.T, doors Doors, tenant *Tenant, load gatewayLoad, i int) *loadedGateway {
	g := &loadedGateway{name: unique(fmt.Sprint("gateway ", i)), flying: map[uint16][]sentReading{}, landed: make(chan struct{}, loadWindow), reading: make(chan struct{})}
	token := strings.ReplaceAll(unique("TG"), "-", "")
	if err := tenant.call(ctx, http.MethodPost, "/api/device?accessToken="+token, map[string]any{
		"name": g.name, "type": "default", "additionalInfo": map[string]any{"gateway": true},
	}, nil); err != nil {
		t.Error(err)
		return g
	}
	g.mqttClient = mqttConnect(t, doors.MQTT, mqttHello{version: mqtt5, username: token})
	for n := range load.devices {
		g.devices = append(g.devices, ledger.NewDevice(fmt.Sprintf("%s.%d", g.name, n), true))
	}
	go g.read()
	for range cap(g.landed) {
		g.landed <- struct{}{}
	}
	for from := 0; from < len(g.devices); from += load.batch {
		g.message(gatewayTelemetry, g.devices[from:min(from+load.batch, len(g.devices))])
	}
	g.land()
	return g
}

// loadWindow is how many messages a gateway has without acknowledgement.
const loadWindow = 64

// message sends the next reading of each of devices, once there is room in the window.
func (g *loadedGateway) message(topic string, devices []*ledger.Device) {
	<-g.landed
	payload := []byte{'{'}
	var sent []sentReading
	for i, d := range devices {
		n := d.Next()
		d.Sending(n)
		sent = append(sent, sentReading{d, n})
		if i > 0 {
			payload = append(payload, ',')
		}
		payload = fmt.Appendf(payload, `"%s":[{"ts":%d,"values":{"n":%d}}]`, d.Name, ledger.TimeOf(n), n)
	}
	id := g.newID()
	g.mu.Lock()
	g.flying[id] = sent
	g.mu.Unlock()
	body := binary.BigEndian.AppendUint16(mqttText(nil, topic), id)
	body = append(append(body, 0), append(payload, '}')...)
	if _, err := g.conn.Write(mqttFrame(0x32, body)); err != nil {
		g.t.Error(err)
	}
}

// read notes acknowledgements until the connection ends.
func (g *loadedGateway) read() {
	defer close(g.reading)
	for {
		p, err := g.mqttClient.read(time.Minute)
		if err != nil {
			return
		}
		if p.kind != mqttPUBACK || p.reason != 0 {
			g.t.Errorf("%s: %v", g.name, p)
			continue
		}
		g.mu.Lock()
		sent := g.flying[p.id]
		delete(g.flying, p.id)
		g.mu.Unlock()
		for _, s := range sent {
			s.device.Acknowledged(s.n)
		}
		g.landed <- struct{}{}
	}
}

// land waits until everything is acknowledged, and leaves the window as it was.
func (g *loadedGateway) land() {
	for range cap(g.landed) {
		select {
		case <-g.landed:
		case <-g.reading:
			g.t.Errorf("%s: the connection ended", g.name)
			return
		}
	}
	for range cap(g.landed) {
		g.landed <- struct{}{}
	}
}

// run sends readings at its share of the rate, evenly over its devices.
func (g *loadedGateway) run(load gatewayLoad) {
	every := time.Duration(load.gateways*load.batch) * time.Second / time.Duration(load.readings)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	from := 0
	for end := time.Now().Add(load.time); time.Now().Before(end); {
		<-ticker.C
		g.message(gatewayTelemetry, g.devices[from:min(from+load.batch, len(g.devices))])
		if from += load.batch; from >= len(g.devices) {
			from = 0
		}
	}
	g.land()
}

// check reads what is stored of every device, many at a time, and adds up what came of them.
func (g *loadedGateway) check(ctx context.Context, tenant *Tenant) (sum ledger.Verdict) {
	var mu sync.Mutex
	next := make(chan *ledger.Device)
	go func() {
		defer close(next)
		for _, d := range g.devices {
			next <- d
		}
	}()
	inParallel(devicesAtOnce, func(int) {
		for d := range next {
			v, err := checkBehind(ctx, tenant, d)
			mu.Lock()
			sum.Sent, sum.Acknowledged, sum.Stored = sum.Sent+v.Sent, sum.Acknowledged+v.Acknowledged, sum.Stored+v.Stored
			mu.Unlock()
			if err != nil || len(v.Problems) > 0 {
				g.t.Errorf("%s: %v %v", d.Name, v.Problems, err)
			}
		}
	})
	return sum
}

// checkBehind asks until all that was acknowledged is stored, for a while.
func checkBehind(ctx context.Context, tenant *Tenant, d *ledger.Device) (v ledger.Verdict, err error) {
	var shown struct{ ID ref }
	if err := tenant.call(ctx, http.MethodGet, "/api/tenant/devices?deviceName="+url.QueryEscape(d.Name), nil, &shown); err != nil {
		return v, err
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		rows, err := tenant.Rows(ctx, shown.ID.ID, "n")
		if err != nil {
			return v, err
		}
		if v = d.Check(rows); len(v.Lost) == 0 || time.Now().After(end) {
			return v, nil
		}
	}
}
