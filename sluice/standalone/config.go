package standalone

import (
	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/broker"
	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/process/settings"
	coaptransport "github.com/sluice-iot/sluice/services/coap-transport"
	corenode "github.com/sluice-iot/sluice/services/core-node"
	httptransport "github.com/sluice-iot/sluice/services/http-transport"
	jsexecutor "github.com/sluice-iot/sluice/services/js-executor"
	mqtttransport "github.com/sluice-iot/sluice/services/mqtt-transport"
)

// Config is the settings of all parts together. A field tagged "-" takes the field of the same
// name in the structs embedded beside it out of the settings: it is set here, from one that
// all parts share.
type Config struct {
	Process process.Config `embed:""`

	Data       string `name:"data" default:"${data}" help:"Folder that holds everything stored. One process at a time."`
	MQTTListen string `name:"mqtt-listen" default:"${host}:1883" help:"TCP address for MQTT; port 0 picks one. Empty: none."`
	HTTPListen string `name:"http-listen" default:"${host}:8080" help:"TCP address for REST, WebSocket, the device HTTP API and MQTT over WebSocket."`
	CoAPListen string `name:"coap-listen" default:"${host}:5683" help:"UDP address for CoAP; port 0 picks one. Empty: none."`
	Partitions int    `name:"partitions" default:"2" help:"Partitions of each topic core nodes own; fixed once the data folder exists."`
	Demo       bool   `settings:"-"` // demo accounts and devices

	Broker    broker.Config   `embed:""`
	Bus       busConfig       `embed:""`
	Core      coreConfig      `embed:""`
	Transport transportConfig `embed:""`
	MQTT      mqttConfig      `embed:""`
	HTTP      httpConfig      `embed:""`
	CoAP      coapConfig      `embed:""`
	Executor  executorConfig  `embed:""`
}

type busConfig struct {
	Brokers     struct{} `settings:"-"`
	TopicPrefix struct{} `settings:"-"`
	bus.Config  `embed:""`
}

type coreConfig struct {
	Store           struct{} `settings:"-"`
	Cassandra       struct{} `settings:"-"`
	Ring            struct{} `settings:"-"`
	DataDir         struct{} `settings:"-"`
	HTTPListen      struct{} `settings:"-"`
	Demo            struct{} `settings:"-"`
	corenode.Config `embed:""`
}

// transportConfig leaves out what only a fleet has: redis.Config, field by field.
type transportConfig struct {
	URL, Mode, Master, Password, Key, Prefix           struct{} `settings:"-"`
	Timeout, Pause, Connections, Fresh, Events, Limits struct{} `settings:"-"`
	mqtttransport.SharedConfig                         `embed:""`
}

type mqttConfig struct {
	Listen               struct{} `settings:"-"`
	DrainReason          struct{} `settings:"-"`
	mqtttransport.Config `embed:""`
}

type httpConfig struct {
	Listen               struct{} `settings:"-"`
	httptransport.Config `embed:""`
}

type coapConfig struct {
	Listen               struct{} `settings:"-"`
	coaptransport.Config `embed:""`
}

// DefaultConfig returns the settings of an operator who sets none, with data in dir and
// listeners at free ports of the loopback address.
func DefaultConfig(dir string) (Config, error) {
	var c Config
	if err := settings.Defaults(&c, map[string]string{"data": dir, "host": "127.0.0.1"}); err != nil {
		return c, err
	}
	c.Process.Admin.Listen = "127.0.0.1:0"
	c.MQTTListen, c.HTTPListen, c.CoAPListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	return c, nil
}

// executorConfig leaves out what only a fleet needs.
type executorConfig struct {
	Group             struct{} `settings:"-"`
	Session           struct{} `settings:"-"`
	Heartbeat         struct{} `settings:"-"`
	jsexecutor.Config `embed:""`
}
