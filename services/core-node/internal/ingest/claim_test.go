package ingest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/claim"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

func offering(secret string) *sluicepb.CoreMessage {
	return &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_Claim{Claim: &sluicepb.ClaimDevice{Secret: secret, ReceivedAtMs: time.Now().UnixMilli()}}}
}

// claimable reports whether the secret would take the device.
func (w *world) claimable(d entity.Device, secret string) bool {
	w.t.Helper()
	w.told()
	back := errors.New("put back")
	err := claim.New(w.rows, w.claims, nil).Claim(w.t.Context(), d.Tenant, d.ID, secret, func() error { return back })
	return errors.Is(err, back)
}

func TestM71DevicesOfferThemselves(t *testing.T) {
	for name, test := range map[string]struct {
		customer  bool
		byDefault bool
		attribute *sluicepb.CoreMessage
		secret    string
		want      bool
	}{
		"M71 an offer":               {byDefault: true, want: true},
		"with a secret":              {byDefault: true, secret: "s", want: true},
		"of a customer's device":     {byDefault: true, customer: true},
		"not allowed by default":     {},
		"allowed by an attribute":    {attribute: allowing(telemetry.OfBool(true)), want: true},
		"an attribute that is false": {attribute: allowing(telemetry.OfBool(false))},
		"an attribute of a text":     {attribute: allowing(telemetry.OfString("true"))},
		"a secret that is too long":  {byDefault: true, secret: strings.Repeat("s", 2000)},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.claims.ByDefault = test.byDefault
			d := w.device("d")
			if test.customer {
				d.Customer = ident.CustomerID{ID: ident.New()}
				w.devices.known[d.ID] = d
			}
			w.start()
			if test.attribute != nil {
				w.tell(d, test.attribute)
			}
			w.tell(d, offering(test.secret))
			if got := w.claimable(d, test.secret); got != test.want {
				t.Errorf("claimable: %v", got)
			}
		})
	}
}

func allowing(v telemetry.Value) *sluicepb.CoreMessage {
	return &sluicepb.CoreMessage{Body: &sluicepb.CoreMessage_SaveAttributes{SaveAttributes: &sluicepb.SaveAttributes{
		Scope: "SERVER_SCOPE", Values: telemetry.ToProto([]telemetry.KeyValue{{Key: claim.Attribute, Value: v}}),
	}}}
}
