package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/process/settings"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestProtocolSuite is all there is to do for a transport to be held to what devices are promised.
func TestProtocolSuite(t *testing.T) {
	transporttest.Run(t, transporttest.Harness{
		Transport: protocol,
		Start: func(t *testing.T, tr *transport.Transport) (transporttest.Client, func()) {
			s, stop := start(t, tr)
			return client{s.Addr()}, stop
		},
	})
}

func start(t *testing.T, tr *transport.Transport) (*Service, func()) {
	t.Helper()
	var c Settings
	if err := settings.Defaults(&c, nil); err != nil {
		t.Fatal(err)
	}
	c.Listen = "127.0.0.1:0"
	s, err := New(c, tr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return s, func() {
		cancel()
		running.Wait()
	}
}

// client is a device's side: it sends a row and waits for its answer.
type client struct{ address string }

func (c client) Upload(ctx context.Context, u transporttest.Upload) transporttest.Outcome {
	conn, err := net.Dial("udp", c.address)
	if err != nil {
		return transporttest.Unanswered
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return transporttest.Unanswered
		}
	}
	if _, err := conn.Write([]byte(row(u))); err != nil {
		return transporttest.Unanswered
	}
	answer := make([]byte, 100)
	n, err := conn.Read(answer)
	if err != nil {
		return transporttest.Unanswered
	}
	return map[string]transporttest.Outcome{
		"7,ok\n": transporttest.Acknowledged, "7,unknown\n": transporttest.Unknown, "7,malformed\n": transporttest.Malformed,
		"7,too large\n": transporttest.TooLarge, "7,limited\n": transporttest.Limited, "7,later\n": transporttest.Unavailable,
	}[string(answer[:n])]
}

// ReadAttributes is not offered by the protocol.
func (c client) ReadAttributes(context.Context, string, []string, []string) (string, transporttest.Outcome) {
	return "", transporttest.Unanswered
}

// row is the suite's reading as a row of CSV; what is no reading in JSON becomes none in CSV either.
func row(u transporttest.Upload) string {
	kind, when := "telemetry", ""
	if u.Attributes {
		kind = "attributes"
	}
	values := map[string]json.RawMessage{}
	if json.Unmarshal([]byte(u.Payload), &values) != nil {
		return u.Token + ",7," + kind + ",,half"
	}
	if ts, timed := values["ts"]; timed {
		when = string(ts)
		inner := values["values"]
		values = nil
		if json.Unmarshal(inner, &values) != nil {
			return u.Token + ",7," + kind + "," + when + ",half"
		}
	}
	text := u.Token + ",7," + kind + "," + quoted(when)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		text += "," + quoted(key) + "," + quoted(string(values[key]))
	}
	return text
}

func quoted(field string) string {
	if strings.ContainsAny(field, `",`) {
		return `"` + strings.ReplaceAll(field, `"`, `""`) + `"`
	}
	return field
}

// TestRows holds the protocol's own rules.
func TestRows(t *testing.T) {
	rig := transporttest.Start(t, nil)
	rig.Core.AddDevice("T")
	s, stop := start(t, rig.Transport)
	defer stop()
	for text, want := range map[string]string{
		"T,1,telemetry,,t,21.5,name,kitchen": "1,ok\n",
		"T,2,telemetry,1000,t,21.5\n":        "2,ok\n",
		"T,3,telemetry,soon,t,1":             "3,malformed\n",
		"T,4,telemetry,,t":                   "4,malformed\n",
		"T,5,gossip,,t,1":                    "5,malformed\n",
		"X,6,telemetry,,t,1":                 "6,unknown\n",
		`T,7,telemetry,,t,"half`:             "7,malformed\n",
		"":                                   ",malformed\n",
		"T,8,telemetry,," + strings.Repeat("x", maxRow): "8,malformed\n",
		`T,"1` + "\n" + `",telemetry,,t,1`:              ",ok\n",
	} {
		if got := ask(t, s.Addr(), text); got != want {
			t.Errorf("%.40q: %q, want %q", text, got, want)
		}
	}
	rig.Uplinks(t, 3)
}

func ask(t *testing.T, address, text string) string {
	t.Helper()
	conn, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 100)
	n, err := conn.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer[:n])
}

// TestRowsInFlightAreBounded: beyond the bound a device is told to come again, and nothing is lost.
func TestRowsInFlightAreBounded(t *testing.T) {
	rig := transporttest.Start(t, nil)
	rig.Core.AddDevice("T")
	s, err := New(Settings{Listen: "127.0.0.1:0", InFlight: 2}, rig.Transport)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	rig.Bus.Hold()
	answers := make(chan string, 2)
	for i := range 2 {
		running.Go(func() { answers <- ask(t, s.Addr(), fmt.Sprintf("T,%d,telemetry,,n,%d", i, i)) })
	}
	rig.AwaitHeld(t, 2)
	if got := ask(t, s.Addr(), "T,9,telemetry,,n,9"); got != "9,later\n" {
		t.Errorf("beyond the bound: %q", got)
	}
	rig.Bus.Release(nil)
	for range 2 {
		if got := <-answers; got != "0,ok\n" && got != "1,ok\n" {
			t.Errorf("once the bus had it: %q", got)
		}
	}
	cancel()
	running.Wait()
	if _, err := New(Settings{Listen: "127.0.0.1:0"}, rig.Transport); err == nil || !strings.Contains(err.Error(), "csv-in-flight") {
		t.Errorf("no rows at all: %v", err)
	}
	if _, err := New(Settings{Listen: "nowhere:" + strconv.Itoa(1<<20), InFlight: 1}, rig.Transport); err == nil {
		t.Error("an address that is none was taken")
	}
}
