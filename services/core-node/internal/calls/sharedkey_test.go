package calls_test

import (
	"testing"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

func TestSharedKey(t *testing.T) {
	p := start(t)
	user := p.device(t, entity.Device{}, withBasic(entity.BasicValue{UserName: "user", Password: "secret"}))
	both := p.device(t, entity.Device{}, withBasic(entity.BasicValue{ClientID: "c", UserName: "u", Password: "p"}))
	p.device(t, entity.Device{}, withBasic(entity.BasicValue{ClientID: "client"}))
	p.device(t, entity.Device{}, withBasic(entity.BasicValue{UserName: "keyless"}))
	p.device(t, entity.Device{}, withToken("TOKEN"))
	ask := func(identity string) *sluicepb.TransportAnswer {
		return p.ask(t, &sluicepb.TransportRequest{Body: &sluicepb.TransportRequest_SharedKey{SharedKey: &sluicepb.SharedKey{Identity: identity}}})
	}
	for identity, want := range map[string]struct {
		device entity.Device
		key    string
	}{"user": {user, "secret"}, "c|u": {both, "p"}} {
		a := ask(identity)
		if string(a.GetDevice().GetDeviceId()) != string(want.device.ID.ID[:]) || string(a.GetKey().GetKey()) != want.key {
			t.Errorf("%s: %v", identity, a)
		}
	}
	for _, identity := range []string{"", "u", "c", "client", "keyless", "TOKEN", "|user", "user|", "nobody", "x|y"} {
		if a := ask(identity); fault.Kind(a.GetFault().GetKind()) != fault.Unauthenticated || a.GetKey() != nil {
			t.Errorf("%q: %v", identity, a)
		}
	}
}
