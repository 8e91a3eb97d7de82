package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/broker"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/process/settings"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	coaptransport "github.com/sluice-iot/sluice/services/coap-transport"
	httptransport "github.com/sluice-iot/sluice/services/http-transport"
	mqtttransport "github.com/sluice-iot/sluice/services/mqtt-transport"
	"github.com/sluice-iot/sluice/transport"
)

const (
	partitions = 2
	// benchBacklog lets the broker keep all that is published in a run, as nobody consumes it.
	benchBacklog = 64 << 30
)

// edgeRole is the transports and the broker alone: devices are known, their uplinks go to the
// bus, nobody reads them.
func edgeRole(ctx context.Context, a assignment, say func(report) error) (err error) {
	c := &composition{}
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := c.broker(ctx, &a); err != nil {
		return err
	}
	if err := c.answers(ctx, a); err != nil {
		return err
	}
	client, err := c.dial(ctx, a, "transport", topics.TransportResponses)
	if err != nil {
		return err
	}
	var shared transport.Config
	var mqtt mqtttransport.Config
	var http httptransport.Config
	var coap coaptransport.Config
	for _, config := range []any{&shared, &mqtt, &http, &coap} {
		if err := settings.Defaults(config, nil); err != nil {
			return err
		}
	}
	mqtt.Listen, http.Listen, coap.Listen, coap.DTLSListen = loopback, loopback, loopback, loopback
	certificates, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(certificates)) }()
	coap.DTLSCertificates = filepath.Join(certificates, "default.pem")
	if err := writeCertificate(coap.DTLSCertificates); err != nil {
		return err
	}
	platform, err := transport.New(shared, client, transport.Options{})
	if err != nil {
		return err
	}
	c.add(platform)
	m, err := mqtttransport.New(mqtt, platform, process.Env{})
	if err != nil {
		return err
	}
	c.add(m)
	h, err := httptransport.New(http, platform, process.Env{})
	if err != nil {
		return err
	}
	c.add(h)
	u, err := coaptransport.New(coap, platform, process.Env{})
	if err != nil {
		return err
	}
	c.add(u)
	if err := say(report{MQTT: m.Addr(), HTTP: h.Addr(), CoAP: u.Addr(), CoAPS: u.DTLSAddr()}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

const loopback = "127.0.0.1:0"

// composition is parts that run at once and stop in reverse order.
type composition struct {
	stops []func() error
}

func (c *composition) add(part process.Runner) {
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	var running sync.WaitGroup
	running.Go(func() { err = part.Run(ctx) })
	c.stops = append(c.stops, func() error {
		cancel()
		running.Wait()
		return err
	})
}

func (c *composition) stop() error {
	var errs []error
	for i := len(c.stops) - 1; i >= 0; i-- {
		errs = append(errs, c.stops[i]())
	}
	return errors.Join(errs...)
}

// broker starts the embedded broker, synced unless a has it in memory, with every topic there is, and notes it in a; unless a names brokers.
func (c *composition) broker(ctx context.Context, a *assignment) error {
	if len(a.Brokers) > 0 {
		return nil
	}
	config := broker.DefaultConfig()
	config.BacklogBytes = benchBacklog
	options := broker.Options{Dir: filepath.Join(a.Dir, "bus"), Group: bus.DefaultConfig().Group}
	if a.Memory {
		options.Dir = ""
	}
	b, err := broker.Start(config, options)
	if err != nil {
		return err
	}
	c.add(b)
	a.Brokers = []string{b.Addr()}
	return topics.Create(ctx, a.Brokers, topics.Standard(partitions), 1)
}

// answersRole answers transports' calls, and nothing else: with it, transports and broker are all there is.
func answersRole(ctx context.Context, a assignment, say func(report) error) (err error) {
	c := &composition{}
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := c.answers(ctx, a); err != nil {
		return err
	}
	if err := say(report{}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// answers has the transports' calls answered.
func (c *composition) answers(ctx context.Context, a assignment) error {
	core, err := c.dial(ctx, a, "core", topics.CoreResponses)
	if err != nil {
		return err
	}
	c.add(process.RunnerFunc(func(ctx context.Context) error { return answerCredentials(ctx, core) }))
	return nil
}

func (c *composition) dial(ctx context.Context, a assignment, node, replies string) (*bus.Client, error) {
	config := bus.DefaultConfig()
	config.Brokers, config.TopicPrefix = a.Brokers, a.Prefix
	client, err := bus.Dial(ctx, config, bus.Options{Node: node, ReplyPrefix: replies})
	if err != nil {
		return nil, err
	}
	c.add(client)
	return client, nil
}

// answerCredentials is all of a core node that the transports need: it knows every device whose
// token begins as those of package load do.
func answerCredentials(ctx context.Context, b *bus.Client) error {
	n, err := b.Partitions(ctx, topics.TransportRequests)
	if err != nil {
		return err
	}
	errs := make([]error, n)
	var reading sync.WaitGroup
	for i := range n {
		reading.Go(func() { errs[i] = answerPartition(ctx, b, i) })
	}
	reading.Wait()
	return errors.Join(errs...)
}

func answerPartition(ctx context.Context, b *bus.Client, partition int) (err error) {
	reader, err := b.OpenReader(ctx, topics.TransportRequests, partition)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	for {
		calls, err := reader.Read(ctx, 1000)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read calls: %w", err)
		}
		for _, call := range calls {
			answer, err := answerCall(call.Value)
			if err != nil {
				return err
			}
			b.Answer(call, answer)
		}
	}
}

func answerCall(request []byte) ([]byte, error) {
	var question sluicepb.TransportRequest
	if err := proto.Unmarshal(request, &question); err != nil {
		return nil, fmt.Errorf("read call: %w", err)
	}
	token := question.GetValidateToken().GetToken() + question.GetValidateBasic().GetUsername()
	if !strings.HasPrefix(token, "load-") {
		return proto.Marshal(&sluicepb.TransportAnswer{Fault: fault.ToProto(fault.New(fault.Unauthenticated, "unknown"))})
	}
	id := sha256.Sum256([]byte(token))
	return proto.Marshal(&sluicepb.TransportAnswer{Device: &sluicepb.DeviceInfo{
		TenantId: make([]byte, 16), DeviceId: id[:16], DeviceName: token, DeviceType: "default",
		TransportType: "DEFAULT", Version: 1, CredentialsVersion: 1,
	}})
}

// settle is how long a fresh process is given before it is loaded.
const settle = 300 * time.Millisecond
