package transport

import (
	"strconv"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/transport/payload"
)

var (
	errSecret   = fault.New(fault.Invalid, `"secretKey" must be a text`)
	errDuration = fault.New(fault.Invalid, `"durationMs" must be an integer`)
)

// Claim implements Claims.
func (t *Transport) Claim(d *Device, from Origin, request []byte, done func(error)) error {
	claim := &sluicepb.ClaimDevice{ReceivedAtMs: time.Now().UnixMilli()}
	if len(request) > 0 {
		request, err := d.message(from.Format, request, payload.ReadClaim)
		if err == nil {
			err = t.readClaim(request, claim)
		}
		if err != nil {
			return t.refused("claim", err)
		}
	}
	message := coreMessage(d)
	message.Body = &sluicepb.CoreMessage_Claim{Claim: claim}
	return t.tell(d, "claim", message, done)
}

// readClaim reads {"secretKey":…,"durationMs":…}; both may be missing or null.
func (t *Transport) readClaim(request []byte, into *sluicepb.ClaimDevice) error {
	f := t.drafts.Get().(*draft)
	defer t.drafts.Put(f)
	return f.decoder.Object(request, func(name string, m payload.Member) (err error) {
		switch {
		case m.IsNull():
		case name == "secretKey":
			if into.Secret = m.Text; !m.IsText {
				return errSecret
			}
		case name == "durationMs":
			if into.DurationMs, err = strconv.ParseInt(m.JSON, 10, 64); err != nil {
				return errDuration
			}
			into.DurationMs = max(0, into.DurationMs)
		}
		return nil
	})
}
