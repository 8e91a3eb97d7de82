package fleet

import (
	"context"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/process"
	coaptransport "github.com/sluice-iot/sluice/services/coap-transport"
	httptransport "github.com/sluice-iot/sluice/services/http-transport"
	mqtttransport "github.com/sluice-iot/sluice/services/mqtt-transport"
)

// transport is what the members that devices talk to have in common.
type transport struct {
	Member
	Shared mqtttransport.SharedConfig `embed:""`
}

// door is one protocol's service on the shared part.
type door func(*mqtttransport.Shared, process.Env) (service process.Runner, announced string, err error)

func (t *transport) serve(ctx context.Context, inv process.Invocation, open door) error {
	return t.Member.serve(ctx, inv, topics.TransportResponses, func(_ context.Context, client *bus.Client, env process.Env) ([]process.Runner, string, error) {
		shared, err := mqtttransport.NewShared(t.Shared, client, env)
		if err != nil {
			return nil, "", err
		}
		service, announced, err := open(shared, env)
		if err != nil {
			return []process.Runner{shared}, "", err
		}
		return []process.Runner{shared, service}, announced, nil
	})
}

// MQTTTransport is `sluice mqtt-transport`.
type MQTTTransport struct {
	transport
	WebSocket string     `name:"mqtt-websocket-listen" default:":8083" help:"TCP address for MQTT over WebSocket (path /mqtt); port 0 picks one. Empty: none."`
	MQTT      mqttConfig `embed:""`
}

// mqttConfig leaves out what the role sets itself.
type mqttConfig struct {
	WebSocket            struct{} `settings:"-"`
	mqtttransport.Config `embed:""`
}

// Run serves until ctx ends.
func (m *MQTTTransport) Run(ctx context.Context, inv process.Invocation) error {
	return m.serve(ctx, inv, func(shared *mqtttransport.Shared, env process.Env) (process.Runner, string, error) {
		config := m.MQTT.Config
		config.WebSocket = m.WebSocket
		config.ListenTLS("")
		service, err := mqtttransport.New(config, shared, env)
		if err != nil {
			return nil, "", err
		}
		announced := "MQTT " + service.Addr() + "   WebSocket " + service.WebSocketAddr()
		if at := service.TLSAddr(); at != "" {
			announced += "   TLS " + at
		}
		return service, announced, nil
	})
}

// HTTPTransport is `sluice http-transport`.
type HTTPTransport struct {
	transport
	HTTP httptransport.Config `embed:""`
}

// Run serves until ctx ends.
func (h *HTTPTransport) Run(ctx context.Context, inv process.Invocation) error {
	return h.serve(ctx, inv, func(shared *mqtttransport.Shared, env process.Env) (process.Runner, string, error) {
		service, err := httptransport.New(h.HTTP, shared, env)
		if err != nil {
			return nil, "", err
		}
		return service, "HTTP http://" + service.Addr(), nil
	})
}

// CoAPTransport is `sluice coap-transport`.
type CoAPTransport struct {
	transport
	CoAP coaptransport.Config `embed:""`
}

// Run serves until ctx ends.
func (c *CoAPTransport) Run(ctx context.Context, inv process.Invocation) error {
	return c.serve(ctx, inv, func(shared *mqtttransport.Shared, env process.Env) (process.Runner, string, error) {
		config := c.CoAP
		config.ListenDTLS("")
		service, err := coaptransport.New(config, shared, env)
		if err != nil {
			return nil, "", err
		}
		announced := "CoAP coap://" + service.Addr()
		if at := service.DTLSAddr(); at != "" {
			announced += "   DTLS coaps://" + at
		}
		return service, announced, nil
	})
}
