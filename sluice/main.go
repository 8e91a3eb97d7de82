// Sluice is a platform for device telemetry. This binary is all of it: `sluice --help` lists
// what it does.
package main

import (
	"os"

	"github.com/sluice-iot/sluice/process"
	jsexecutor "github.com/sluice-iot/sluice/services/js-executor"
	"github.com/sluice-iot/sluice/sluice/chain"
	"github.com/sluice-iot/sluice/sluice/doctor"
	"github.com/sluice-iot/sluice/sluice/fleet"
)

const description = "Device telemetry over MQTT, HTTP and CoAP, through rule chains, into a store that people query."

// commands is everything the binary does. The tag set fills in defaults that differ.
type commands struct {
	Standalone serve `cmd:"" set:"host=,data=./data" help:"Run the whole platform in one process."`
	Demo       demo  `cmd:"" set:"host=127.0.0.1,data=" help:"Run everything with demo accounts and simulated devices, and show what arrives."`

	Install       fleet.Install       `cmd:"" help:"Make what a fleet needs: topics, tables, the first administrator. May be run again."`
	CoreNode      fleet.CoreNode      `cmd:"" set:"data=./data" help:"Run a core node of a fleet: rule chains, storage, REST and WebSocket."`
	MQTTTransport fleet.MQTTTransport `cmd:"" name:"mqtt-transport" help:"Run an MQTT transport of a fleet."`
	HTTPTransport fleet.HTTPTransport `cmd:"" name:"http-transport" help:"Run an HTTP transport of a fleet."`
	CoAPTransport fleet.CoAPTransport `cmd:"" name:"coap-transport" help:"Run a CoAP transport of a fleet."`
	JSExecutor    fleet.JSExecutor    `cmd:"" name:"js-executor" help:"Run a script executor of a fleet: tenants' scripts, in processes that can do nothing but compute."`

	Cluster     cluster       `cmd:"" help:"Look at a fleet, asking any of its core nodes."`
	Doctor      doctor.Doctor `cmd:"" help:"Look at everything a fleet rests upon and name what is broken. Give it the members' settings."`
	Health      health        `cmd:"" help:"Ask a running node whether it is ready."`
	Trace       traceCommand  `cmd:"" help:"Show what became of a device's latest messages: the nodes they ran through and how they ended."`
	Chain       chain.Chain   `cmd:"" help:"Look at exported rule chains and run them, without a platform."`
	DeadLetters deadLetters   `cmd:"" help:"Look after messages that failed through their own fault, on a running node."`
	Version     version       `cmd:"" help:"Say which version this is."`
}

func main() {
	if jsexecutor.IsChild(os.Args) {
		os.Exit(jsexecutor.Child(os.Args))
	}
	os.Exit(process.Main("sluice", description, &commands{}))
}
