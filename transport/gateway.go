package transport

import (
	"context"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
)

// maxName is the longest name of a device, in bytes; the core has the last word.
const maxName = 255 * 4

var errName = fault.New(fault.Invalid, "a device behind a gateway needs a name of at most 255 characters")

// Behind implements Gateways. Devices asked for lately are found without a call, and their asking is not metered.
func (t *Transport) Behind(ctx context.Context, g *Device, name, kind string) (*Device, error) {
	if name == "" || len(name) > maxName || len(kind) > maxName {
		return nil, errName
	}
	c := Credentials{Username: name, ClientID: kind, behind: behind{tenant: g.Tenant, gateway: g.ID}}
	if v := t.recall(c); v != nil {
		t.metrics.credentialHits.Inc()
		return v.device, v.err
	}
	if !g.allowMessage(time.Now()) {
		return nil, ErrRateLimited
	}
	return t.check(ctx, c)
}
