package main

import (
	"context"
	"fmt"
	"io"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/sluice/standalone"
)

// serve is `sluice standalone`.
type serve struct {
	standalone.Config `embed:""`
}

// Run runs the platform until it is told to stop.
func (s *serve) Run(ctx context.Context, inv process.Invocation) error {
	return s.Serve(ctx, inv.Stderr, func(p *standalone.Platform, env process.Env) (process.Runner, error) {
		return process.Sequence(), announce(inv.Stdout, p, env)
	})
}

// announce says where everything is; on the first start also who may log in.
func announce(out io.Writer, p *standalone.Platform, env process.Env) error {
	at := p.Addresses()
	if user, password := p.FirstLogin(); user != "" {
		fmt.Fprintf(out, "First start. Log in once as %s / %s and change the password: it is not shown again.\n", user, password)
	}
	if at.MQTTS != "" {
		fmt.Fprintf(out, "MQTT over TLS %s\n", at.MQTTS)
	}
	if at.CoAPS != "" {
		fmt.Fprintf(out, "CoAP over DTLS coaps://%s\n", at.CoAPS)
	}
	_, err := fmt.Fprintf(out, "MQTT %s   HTTP http://%s   CoAP coap://%s   operators %s\n", at.MQTT, at.HTTP, at.CoAP, adminURL(env))
	return err
}

// adminURL is where the admin listener answers.
func adminURL(env process.Env) string {
	if env.AdminAddr == "" {
		return "(no address)"
	}
	return "http://" + env.AdminAddr
}
