// Package standalone is the whole platform in one process: the embedded broker, a core node and
// the transports, which meet only on the bus, as they do in a fleet.
package standalone

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/broker"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/process"
	coaptransport "github.com/sluice-iot/sluice/services/coap-transport"
	corenode "github.com/sluice-iot/sluice/services/core-node"
	httptransport "github.com/sluice-iot/sluice/services/http-transport"
	jsexecutor "github.com/sluice-iot/sluice/services/js-executor"
	mqtttransport "github.com/sluice-iot/sluice/services/mqtt-transport"
)

// Addresses are where the platform listens, each as host:port; "" where it does not.
type Addresses struct{ MQTT, MQTTS, HTTP, CoAP, CoAPS string }

// Platform is the platform, built and bound. Run it.
type Platform struct {
	config Config
	env    process.Env
	broker *broker.Broker
	// parts are what has been built so far, each resting only on those before it.
	parts []process.Runner

	core      *corenode.Service
	transport *mqtttransport.Shared
	mqtt      *mqtttransport.Service
	http      *httptransport.Service
	coap      *coaptransport.Service
	door      *door
}

// New takes the data folder, starts the broker, builds every service and binds every address.
// Nobody is served before Run. When it fails, what had been built is closed again.
func New(ctx context.Context, c Config, env process.Env) (*Platform, error) {
	p := &Platform{config: c, env: env}
	for _, build := range []func(context.Context) error{
		p.openFolder, p.startBroker, p.createTopics, p.buildExecutor, p.buildCore, p.buildTransport, p.buildMQTT, p.buildHTTP, p.buildCoAP, p.openDoor,
	} {
		if err := build(ctx); err != nil {
			return nil, p.abandon(ctx, err)
		}
	}
	return p, nil
}

// Run serves until ctx ends, or a part fails; then it closes the doors first and the broker last.
func (p *Platform) Run(ctx context.Context) error { return process.Sequence(p.parts...).Run(ctx) }

// Addresses returns what was bound.
func (p *Platform) Addresses() Addresses {
	return Addresses{MQTT: p.mqtt.Addr(), MQTTS: p.mqtt.TLSAddr(), HTTP: p.door.Addr(), CoAP: p.coap.Addr(), CoAPS: p.coap.DTLSAddr()}
}

// FirstLogin returns whom the first start made and the password, which is shown this once; ""
// at later starts and in the demo.
func (p *Platform) FirstLogin() (user, password string) { return p.core.FirstLogin() }

// abandon closes what has been built and returns why: a part that runs under an ended context only drains.
func (p *Platform) abandon(ctx context.Context, why error) error {
	ended, end := context.WithCancel(ctx)
	end()
	return errors.Join(why, p.Run(ended))
}

func (p *Platform) add(part process.Runner) { p.parts = append(p.parts, part) }

func (p *Platform) openFolder(context.Context) error {
	held, err := lock(p.config.Data)
	if err != nil {
		return err
	}
	p.add(process.RunnerFunc(func(ctx context.Context) error {
		<-ctx.Done()
		return held.Close()
	}))
	return nil
}

func (p *Platform) startBroker(context.Context) (err error) {
	p.broker, err = broker.Start(p.config.Broker, broker.Options{
		Dir:     filepath.Join(p.config.Data, "bus"),
		Room:    p.disk().room,
		Group:   p.config.Bus.Group,
		Log:     p.env.Log,
		Metrics: p.env.Metrics,
	})
	if err != nil {
		return err
	}
	p.add(p.broker)
	p.env.Health.Check("disk", p.disk().room)
	return nil
}

func (p *Platform) disk() disk {
	return disk{folder: p.config.Data, reserve: p.config.Core.StoreReserve}
}

func (p *Platform) createTopics(ctx context.Context) error {
	const replication = 1 // there is one broker
	queues, err := p.config.Core.FurtherQueues()
	if err != nil {
		return err
	}
	specs := topics.Embedded(p.config.Partitions, queues, p.config.Broker.DeadLetterBytes)
	brokers := []string{p.broker.Addr()}
	if err := topics.Create(ctx, brokers, specs, replication); err != nil {
		return err
	}
	_, err = topics.CheckOwned(ctx, brokers, "", queues)
	return err
}

// named is the environment of one part: its log lines carry its name.
func (p *Platform) named(part string) process.Env {
	env := p.env
	env.Log = env.Log.With("service", part)
	return env
}

// dial gives a part a bus of its own, whose metrics carry the part's name.
func (p *Platform) dial(ctx context.Context, part, replies string) (*bus.Client, process.Env, error) {
	env := p.named(part)
	config := p.config.Bus.Config
	config.Brokers = []string{p.broker.Addr()}
	client, err := bus.Dial(ctx, config, bus.Options{
		Node: part, ReplyPrefix: replies, Log: env.Log,
		Metrics: prometheus.WrapRegistererWith(prometheus.Labels{"client": part}, env.Metrics),
	})
	if err != nil {
		return nil, env, fmt.Errorf("%s: %w", part, err)
	}
	p.add(client)
	return client, env, nil
}

// buildExecutor builds what runs tenants' scripts. Core nodes ask it, so that it ends after theirs.
func (p *Platform) buildExecutor(ctx context.Context) error {
	const part = "js-executor"
	client, env, err := p.dial(ctx, part, "")
	if err != nil {
		return err
	}
	config := p.config.Executor.Config
	config.Optional = true                                                              // devices' messages are taken on all the same
	config.Group, config.Session, config.Heartbeat = part, 6*time.Second, 2*time.Second // of one
	if p.config.Demo {
		config.Sandbox = "weak" // its scripts are one's own
	}
	service, err := jsexecutor.New(config, part, client, env)
	if err != nil {
		return fmt.Errorf("%s: %w", part, err)
	}
	p.add(service)
	return nil
}

func (p *Platform) buildCore(ctx context.Context) error {
	client, env, err := p.dial(ctx, "core-node", topics.CoreResponses)
	if err != nil {
		return err
	}
	config := p.config.Core.Config
	config.StoreReserve = p.disk().storeReserve()
	config.Store, config.NodeID = "pebble", "core-node"
	config.DataDir, config.HTTPListen, config.Demo = filepath.Join(p.config.Data, "store"), "", p.config.Demo
	if p.core, err = corenode.New(config, client, env); err != nil {
		return fmt.Errorf("core-node: %w", err)
	}
	p.add(p.core)
	return nil
}

// buildTransport builds what the three protocols share. There is one in a process, so that a
// device's readings get times in order whatever protocols it uses.
func (p *Platform) buildTransport(ctx context.Context) error {
	client, env, err := p.dial(ctx, "transport", topics.TransportResponses)
	if err != nil {
		return err
	}
	p.transport, err = mqtttransport.NewShared(p.config.Transport.SharedConfig, client, env)
	if err != nil {
		return fmt.Errorf("transport: %w", err)
	}
	p.add(p.transport)
	return nil
}

func (p *Platform) buildMQTT(context.Context) (err error) {
	config := p.config.MQTT.Config
	config.Listen = p.config.MQTTListen
	if host, _, err := net.SplitHostPort(config.Listen); err == nil {
		config.ListenTLS(host)
	}
	config.DrainReason = "administrative-action" // there is no other server to use
	if p.mqtt, err = mqtttransport.New(config, p.transport, p.named("mqtt-transport")); err != nil {
		return fmt.Errorf("mqtt-transport: %w", err)
	}
	p.add(p.mqtt)
	return nil
}

func (p *Platform) buildHTTP(context.Context) (err error) {
	config := p.config.HTTP.Config
	config.Listen = "" // it is behind the door
	if p.http, err = httptransport.New(config, p.transport, p.named("http-transport")); err != nil {
		return fmt.Errorf("http-transport: %w", err)
	}
	p.add(p.http)
	return nil
}

func (p *Platform) buildCoAP(context.Context) (err error) {
	config := p.config.CoAP.Config
	config.Listen = p.config.CoAPListen
	if host, _, err := net.SplitHostPort(config.Listen); err == nil {
		config.ListenDTLS(host)
	}
	if p.coap, err = coaptransport.New(config, p.transport, p.named("coap-transport")); err != nil {
		return fmt.Errorf("coap-transport: %w", err)
	}
	p.add(p.coap)
	return nil
}

// openDoor binds the one HTTP listener, which devices, MQTT over WebSocket and people share.
func (p *Platform) openDoor(context.Context) (err error) {
	handler := routes(p.http.Handler(), p.mqtt.Handler(), p.core.Handler())
	if p.door, err = openDoor(p.config.HTTPListen, p.config.HTTP.Config, handler, p.env.Log); err != nil {
		return err
	}
	p.door.server.RegisterOnShutdown(p.http.EndWaits)
	p.add(p.door)
	return nil
}
