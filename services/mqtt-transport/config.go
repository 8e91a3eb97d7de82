package mqtttransport

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/session"
)

// Config is what operators set. Every bound on what devices can make grow is here.
type Config struct {
	Listen          string   `name:"mqtt-listen" default:":1883" help:"TCP address for MQTT; empty for none."`
	TLSListen       string   `name:"mqtt-tls-listen" default:"" help:"TCP address for MQTT over TLS; empty: port 8883 when there are certificates."`
	TLSCertificates string   `name:"mqtt-tls-certificates" default:"" help:"Folder of certificates: *.pem with chain and key, or NAME.crt with NAME.key; or one such file. The name a client asks for chooses, else default.pem or the first by name. Changed files are read again."`
	ProxyTrusted    []string `name:"proxy-trusted" help:"Networks of balancers whose PROXY protocol header (version 2) is believed on the MQTT listeners; none by default."`
	WebSocket       string   `name:"mqtt-websocket-listen" default:"" help:"TCP address for MQTT over WebSocket (path /mqtt); empty for none."`

	Connections    int           `name:"mqtt-connections" default:"200000" help:"Most connections at a time; the next is refused with CONNACK."`
	Refusals       int           `name:"mqtt-refusals" default:"256" help:"Connections beyond mqtt-connections that are kept open until they could be told so; those beyond these are closed at once."`
	ConnectTimeout time.Duration `name:"mqtt-connect-timeout" default:"10s" help:"How long a connection has until it is accepted with CONNACK."`
	ConnectBytes   int           `name:"mqtt-connect-bytes" default:"8192" help:"Largest CONNECT in bytes; nothing else is read before it."`
	PacketBytes    int           `name:"mqtt-packet-bytes" default:"65536" help:"Largest remaining length of a packet; a larger one closes the connection."`

	Inactivity     time.Duration `name:"mqtt-inactivity-timeout" default:"10m" help:"A session without a packet for this long is closed, whatever its keep-alive."`
	InFlight       int           `name:"mqtt-in-flight" default:"256" help:"Messages of one connection that are being worked on; beyond it the connection is read no further."`
	OutputBytes    int           `name:"mqtt-output-bytes" default:"131072" help:"Bytes that wait for one slow connection; beyond it the connection is closed."`
	AttributeReads int           `name:"mqtt-attribute-reads" default:"4" help:"Requests of one connection for attributes, chunks of packages or credentials that are answered at a time; the next waits."`
	Unacknowledged int           `name:"mqtt-unacknowledged" default:"256" help:"Messages at QoS 1 that one client is sent before it acknowledges any, if it takes as many; the next wait."`
	Waiting        int           `name:"mqtt-waiting" default:"1000" help:"Messages that wait for one client, of mqtt-output-bytes at most. Beyond it requests are given back to be sent later, and for anything else the connection is closed."`
	Downloads      int           `name:"mqtt-downloads" default:"8" help:"Downloads that one connection remembers the package and chunk size of, by the ids that it chose; the one asked for the longest ago is forgotten first."`
	PackageBytes   int           `name:"mqtt-package-bytes" default:"67108864" help:"Largest firmware or software that is sent in one message, to a client that states no chunk size; of a larger one it must ask for chunks."`

	GatewayDevices     int           `name:"mqtt-gateway-devices" default:"20000" help:"Most devices behind one gateway that have a session at a time; what it says of others is refused."`
	GatewayQueuedBytes int           `name:"mqtt-gateway-queued-bytes" default:"1048576" help:"Bytes of a gateway's messages that wait for single devices behind it, 256 more for each; beyond it the gateway is read no further."`
	GatewayOutputBytes int           `name:"mqtt-gateway-output-bytes" default:"4194304" help:"Bytes of messages that wait for one slow gateway, of at most as many messages as it may have devices; beyond it requests are given back, and for anything else it is closed."`
	GatewayOpenings    int           `name:"mqtt-gateway-openings" default:"64" help:"Devices behind one gateway that are looked for, or created, at a time; the next waits."`
	GatewayReads       int           `name:"mqtt-gateway-attribute-reads" default:"64" help:"Attribute requests of one gateway that are answered at a time, one for each device; the next waits."`
	GatewayConnectors  int           `name:"mqtt-gateway-connectors" default:"64" help:"Connectors of one gateway whose latencies are measured; the rest is not."`
	GatewayNotices     int           `name:"mqtt-gateway-notices" default:"100" help:"Notices of refused devices that one gateway is sent in a second."`
	GatewayMetrics     time.Duration `name:"mqtt-gateway-metrics" default:"60s" help:"How often a gateway's latencies become a reading of it."`
	GatewayActivity    time.Duration `name:"mqtt-gateway-activity" default:"30s" help:"How often the devices behind a gateway with overwriteActivityTime are told of as active, while it is."`
	GatewayClosings    int           `name:"mqtt-gateway-closings" default:"5000" help:"Sessions of devices behind lost gateways that are closed in a second, over all gateways."`

	WriteTimeout time.Duration `name:"mqtt-write-timeout" default:"10s" help:"How long a connection may refuse the bytes written to it."`
	DrainTimeout time.Duration `name:"mqtt-drain-timeout" default:"12s" help:"How long a stopping service waits for messages on their way to the bus."`
	DrainRate    int           `name:"mqtt-drain-rate" default:"5000" help:"Connections that a stopping service lets go a second, so that they do not all come back at once; more when the drain timeout asks for it."`
	DrainReason  string        `name:"mqtt-drain-reason" default:"use-another-server" enum:"use-another-server,administrative-action,server-shutting-down" help:"What a stopping service tells MQTT 5 clients: ${enum}."`
}

// ListenTLS sets where TLS is listened for when there are certificates and the operator said
// nothing: at the port that is MQTT's under TLS, beside host ("": all addresses).
func (c *Config) ListenTLS(host string) {
	if c.TLSCertificates != "" && c.TLSListen == "" {
		c.TLSListen = net.JoinHostPort(host, "8883")
	}
}

// The largest remaining length that MQTT can express, and what a CONNECT needs at least.
const (
	maxRemainingLength = 268435455
	minConnectBytes    = 64
)

// check refuses settings that cannot work, naming them.
func (c *Config) check() error {
	var wrong []error
	for _, s := range []struct {
		name               string
		value, least, most int64
	}{
		{"mqtt-connections", int64(c.Connections), 1, 1 << 30},
		{"mqtt-refusals", int64(c.Refusals), 0, 1 << 30},
		{"mqtt-drain-rate", int64(c.DrainRate), 1, 1 << 30},
		{"mqtt-connect-timeout", int64(c.ConnectTimeout), int64(time.Second), int64(time.Hour)},
		{"mqtt-connect-bytes", int64(c.ConnectBytes), minConnectBytes, maxRemainingLength},
		{"mqtt-packet-bytes", int64(c.PacketBytes), minConnectBytes, maxRemainingLength},
		{"mqtt-inactivity-timeout", int64(c.Inactivity), int64(time.Second), int64(24 * time.Hour)},
		{"mqtt-in-flight", int64(c.InFlight), 1, 65535},
		{"mqtt-output-bytes", int64(c.OutputBytes), 1024, 1 << 30},
		{"mqtt-attribute-reads", int64(c.AttributeReads), 1, 65535},
		{"mqtt-gateway-devices", int64(c.GatewayDevices), 1, 1 << 30},
		{"mqtt-gateway-queued-bytes", int64(c.GatewayQueuedBytes), 1024, 1 << 30},
		{"mqtt-gateway-output-bytes", int64(c.GatewayOutputBytes), 1024, 1 << 30},
		{"mqtt-gateway-openings", int64(c.GatewayOpenings), 1, 65535},
		{"mqtt-gateway-attribute-reads", int64(c.GatewayReads), 1, 65535},
		{"mqtt-gateway-connectors", int64(c.GatewayConnectors), 0, 65535},
		{"mqtt-gateway-notices", int64(c.GatewayNotices), 0, 1 << 30},
		{"mqtt-gateway-metrics", int64(c.GatewayMetrics), int64(time.Millisecond), int64(24 * time.Hour)},
		{"mqtt-gateway-activity", int64(c.GatewayActivity), int64(time.Millisecond), int64(24 * time.Hour)},
		{"mqtt-gateway-closings", int64(c.GatewayClosings), 1, 1 << 30},
		{"mqtt-unacknowledged", int64(c.Unacknowledged), 1, 65535},
		{"mqtt-waiting", int64(c.Waiting), 1, 1 << 20},
		{"mqtt-downloads", int64(c.Downloads), 1, 65535},
		{"mqtt-package-bytes", int64(c.PackageBytes), 1, maxRemainingLength - 1024},
		{"mqtt-write-timeout", int64(c.WriteTimeout), int64(time.Millisecond), int64(time.Hour)},
		{"mqtt-drain-timeout", int64(c.DrainTimeout), 0, int64(time.Hour)},
	} {
		if s.value < s.least || s.value > s.most {
			wrong = append(wrong, fmt.Errorf("%s: %d is not within %d and %d", s.name, s.value, s.least, s.most))
		}
	}
	if _, known := session.DrainReason(c.DrainReason); !known {
		wrong = append(wrong, fmt.Errorf("mqtt-drain-reason: %q is not known", c.DrainReason))
	}
	switch {
	case c.TLSListen != "" && c.TLSCertificates == "":
		wrong = append(wrong, errors.New("mqtt-tls-listen: needs mqtt-tls-certificates"))
	case c.TLSListen == "" && c.TLSCertificates != "":
		wrong = append(wrong, errors.New("mqtt-tls-certificates: needs mqtt-tls-listen"))
	}
	return errors.Join(wrong...)
}
