package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/tests/load"
)

// busRole publishes what the transports would, with as many messages in flight, without sockets
// or devices: the bus alone, through the same broker.
func busRole(ctx context.Context, a assignment, say func(report) error) (err error) {
	c := &composition{}
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := c.broker(ctx, &a); err != nil {
		return err
	}
	client, err := c.dial(ctx, a, "bench", "")
	if err != nil {
		return err
	}
	r := publishLoop(a, func(key, value []byte, done func(error)) error {
		m := bus.Message{Topic: topics.RuleEngine, Key: key, Value: value}
		for {
			room := client.Room(m.Topic, key)
			if err := client.Publish(m, done); !errors.Is(err, bus.ErrFull) {
				return err
			}
			<-room
		}
	})
	return say(r)
}

// writerRole is busRole with kafka-go's Writer, asynchronous, waiting at most a millisecond for a batch.
func writerRole(ctx context.Context, a assignment, say func(report) error) (err error) {
	c := &composition{}
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := c.broker(ctx, &a); err != nil {
		return err
	}
	w := &kafka.Writer{
		Addr: kafka.TCP(a.Brokers...), Topic: a.Prefix + topics.RuleEngine, RequiredAcks: kafka.RequireAll, Balancer: kafka.Murmur2Balancer{},
		Async: true, BatchTimeout: time.Millisecond, BatchSize: 5000, BatchBytes: 512 << 10,
		Completion: func(messages []kafka.Message, err error) {
			for i := range messages {
				if done, ok := messages[i].WriterData.(func(error)); ok {
					done(err)
				}
			}
		},
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	r := publishLoop(a, func(key, value []byte, done func(error)) error {
		return w.WriteMessages(ctx, kafka.Message{Key: key, Value: value, WriterData: done})
	})
	return say(r)
}

// publishLoop has a.Clients publishers keep a.InFlight messages each in flight for a.Duration, after a warm-up.
func publishLoop(a assignment, publish func(key, value []byte, done func(error)) error) report {
	warm := a
	warm.Duration = warmUp(a.Duration)
	publishFor(warm, publish)
	return publishFor(a, publish)
}

func publishFor(a assignment, publish func(key, value []byte, done func(error)) error) report {
	var acknowledged atomic.Int64
	var publishers sync.WaitGroup
	start := time.Now()
	for i := range a.Clients {
		id := sha256.Sum256([]byte(load.Token(i)))
		value := uplink(ident.DeviceID{ID: ident.ID(id[:16])}, load.Token(i))
		publishers.Go(func() {
			slots := make(chan struct{}, a.InFlight)
			done := func(err error) {
				if err == nil {
					acknowledged.Add(1)
				}
				<-slots
			}
			for time.Since(start) < a.Duration {
				slots <- struct{}{}
				if err := publish(id[:16], value, done); err != nil {
					<-slots
					return
				}
			}
			for range a.InFlight { // what is in flight comes back first
				slots <- struct{}{}
			}
		})
	}
	publishers.Wait()
	return report{Messages: int(acknowledged.Load()), Elapsed: time.Since(start)}
}

// uplink is what a transport puts on the bus for load.Reading.
func uplink(device ident.DeviceID, name string) []byte {
	now := time.Now()
	return telemetry.AppendUplink(nil, &telemetry.Uplink{
		Device: device, DeviceName: name, DeviceType: "default", ID: telemetry.MessageID(ident.New()),
		ReceivedAt: now.UnixMicro(), Transport: "MQTT", Topic: "v1/devices/me/telemetry",
		Telemetry: []telemetry.Record{{Time: now.UnixMilli(), Values: []telemetry.KeyValue{
			{Key: "temperature", Value: telemetry.OfDouble(21.5)},
			{Key: "humidity", Value: telemetry.OfLong(60)},
			{Key: "pressure", Value: telemetry.OfDouble(1013.25)},
		}}},
	})
}

// httpRole is a bare HTTP handler that reads the body.
func httpRole(ctx context.Context, _ assignment, say func(report) error) error {
	listener, err := net.Listen("tcp", loopback)
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
	})}
	if err := say(report{HTTP: listener.Addr().String()}); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // a bench's server has nothing to lose
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
