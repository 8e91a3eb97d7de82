package mqtttransport

import (
	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/transport"
)

// Shared is what all protocols of one process share: credentials, sessions, rates and the
// devices' clocks. Every transport's New takes it as its Platform.
type Shared = transport.Transport

// SharedConfig is the settings of a Shared.
type SharedConfig = transport.Config

// NewShared returns the Shared of this process, which becomes the reader of b's inbox: b is its
// alone. The program runs it before the services and stops it after them.
func NewShared(c SharedConfig, b bus.Bus, env process.Env) (*Shared, error) {
	return transport.New(c, b, transport.Options{Log: env.Log, Metrics: env.Metrics})
}
