// Sluice is a platform for device telemetry. This binary is all of it: `sluice --help` lists
// what it does.
package main

import (
	"os"

	"github.com/sluice-iot/sluice/process"
)

const description = "Device telemetry over MQTT, HTTP and CoAP, through rule chains, into a store that people query."

// commands is everything the binary does. The tag set fills in defaults that differ.
type commands struct {
	Standalone  serve       `kong:"cmd,set='host=',set='data=./data',help='Run the whole platform in one process.'"`
	Demo        demo        `kong:"cmd,set='host=127.0.0.1',set='data=',help='Run everything with demo accounts and simulated devices, and show what arrives.'"`
	DeadLetters deadLetters `cmd:"" help:"Look after messages that failed through their own fault, on a running node."`
	Version     version     `cmd:"" help:"Say which version this is."`
}

func main() { os.Exit(process.Main("sluice", description, &commands{})) }
