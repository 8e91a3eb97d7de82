package calls_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/bustest"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/calls"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/ring"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// registry is devices by their credentials.
type registry struct {
	credentials map[string]entity.Credentials
	devices     map[ident.DeviceID]entity.Device
	away        error
}

func (r *registry) add(kind entity.CredentialsType, id string, stored entity.BasicValue) ident.DeviceID {
	device := ident.DeviceID{ID: ident.New()}
	value := ""
	if kind == entity.MQTTBasic {
		text, err := json.Marshal(stored)
		if err != nil {
			panic(err)
		}
		value, id = string(text), entity.ClientUserID(stored.ClientID, stored.UserName)
	}
	r.credentials[id] = entity.Credentials{Device: device, Type: kind, CredentialsID: id, CredentialsValue: value, Version: 3}
	r.devices[device] = entity.Device{ID: device, Name: id, AdditionalInfo: json.RawMessage(`{"gateway":true}`), Version: 2}
	return device
}

func (r *registry) Device(_ context.Context, _ ident.TenantID, id ident.DeviceID) (entity.Device, error) {
	if d, ok := r.devices[id]; ok {
		return d, r.away
	}
	return entity.Device{}, storage.ErrNotFound
}

func (r *registry) CredentialsByID(_ context.Context, id string) (entity.Credentials, error) {
	if c, ok := r.credentials[id]; ok {
		return c, r.away
	}
	return entity.Credentials{}, storage.ErrNotFound
}

func (r *registry) Profile(context.Context, ident.TenantID, ident.ID) (entity.Profile, error) {
	return entity.Profile{TransportType: "MQTT"}, nil
}

func (r *registry) EachDevice(context.Context, func(entity.Device) error) error { return nil }

func start(t *testing.T, r *registry) *bus.Client {
	t.Helper()
	client := bustest.Start(t)
	c := calls.Calls{Bus: client, Devices: r, Slots: 4, Log: slog.New(slog.DiscardHandler)}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ring.Static(bustest.Partitions).Run(ctx, idle, c.Answer) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return client
}

func ask(t *testing.T, client *bus.Client, q *sluicepb.TransportRequest) *sluicepb.TransportAnswer {
	t.Helper()
	request, err := proto.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	text, err := client.Call(t.Context(), topics.TransportRequests, request, request, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	answered := &sluicepb.TransportAnswer{}
	if err := proto.Unmarshal(text, answered); err != nil {
		t.Fatal(err)
	}
	return answered
}

func token(text string) *sluicepb.TransportRequest {
	return &sluicepb.TransportRequest{Body: &sluicepb.TransportRequest_ValidateToken{ValidateToken: &sluicepb.ValidateToken{Token: text}}}
}

func basic(client, user, password string) *sluicepb.TransportRequest {
	return &sluicepb.TransportRequest{Body: &sluicepb.TransportRequest_ValidateBasic{ValidateBasic: &sluicepb.ValidateBasic{
		ClientId: client, Username: user, Password: password, HasUsername: user != "", HasPassword: password != "",
	}}}
}

func TestWhoIsIt(t *testing.T) {
	r := &registry{credentials: map[string]entity.Credentials{}, devices: map[ident.DeviceID]entity.Device{}}
	byToken := r.add(entity.AccessToken, "TOKEN", entity.BasicValue{})
	byClient := r.add(entity.MQTTBasic, "", entity.BasicValue{ClientID: "client"})
	byUser := r.add(entity.MQTTBasic, "", entity.BasicValue{UserName: "user", Password: "secret"})
	byBoth := r.add(entity.MQTTBasic, "", entity.BasicValue{ClientID: "c", UserName: "u", Password: "p"})
	gone := r.add(entity.AccessToken, "GONE", entity.BasicValue{})
	delete(r.devices, gone)
	client := start(t, r)
	none := ident.DeviceID{}
	for name, test := range map[string]struct {
		q    *sluicepb.TransportRequest
		want ident.DeviceID
	}{
		"a token":                                  {token("TOKEN"), byToken},
		"no token":                                 {token(""), none},
		"an unknown token":                         {token("NOBODY"), none},
		"basic credentials are no token":           {token("user"), none},
		"a token of a device that is gone":         {token("GONE"), none},
		"a token as user name, whatever else":      {basic("any", "TOKEN", "any"), byToken},
		"a client id alone":                        {basic("client", "", ""), byClient},
		"an unknown client id":                     {basic("stranger", "", ""), none},
		"nothing at all":                           {basic("", "", ""), none},
		"a user name and its password":             {basic("", "user", "secret"), byUser},
		"a user name, its password, any client id": {basic("any", "user", "secret"), byUser},
		"a user name without its password":         {basic("", "user", ""), none},
		"a user name with a wrong password":        {basic("", "user", "wrong"), none},
		"client id, user name and password":        {basic("c", "u", "p"), byBoth},
		"both with a wrong password":               {basic("c", "u", "x"), none},
		"another client id":                        {basic("d", "u", "p"), none},
	} {
		answered := ask(t, client, test.q)
		if test.want == none {
			if fault.Kind(answered.GetFault().GetKind()) != fault.Unauthenticated || answered.GetDevice() != nil {
				t.Errorf("%s: answered %v", name, answered)
			}
			continue
		}
		d := answered.GetDevice()
		if ident.ID(d.GetDeviceId()) != test.want.ID || !d.GetGateway() || d.GetTransportType() != "MQTT" || d.GetVersion() != 2 || d.GetCredentialsVersion() != 3 {
			t.Errorf("%s: answered %v", name, answered)
		}
	}
}

func TestFaultsAreAnswered(t *testing.T) {
	r := &registry{credentials: map[string]entity.Credentials{}, devices: map[ident.DeviceID]entity.Device{}}
	r.add(entity.AccessToken, "TOKEN", entity.BasicValue{})
	client := start(t, r)
	if got := ask(t, client, &sluicepb.TransportRequest{}); fault.Kind(got.GetFault().GetKind()) != fault.Invalid {
		t.Errorf("an empty call is answered %v", got)
	}
	r.away = storage.ErrUnavailable
	if got := ask(t, client, token("TOKEN")); fault.Kind(got.GetFault().GetKind()) != fault.Unavailable {
		t.Errorf("without the store it is answered %v", got)
	}
}

func TestManyAtOnce(t *testing.T) {
	r := &registry{credentials: map[string]entity.Credentials{}, devices: map[ident.DeviceID]entity.Device{}}
	r.add(entity.AccessToken, "TOKEN", entity.BasicValue{})
	client := start(t, r)
	var group sync.WaitGroup
	for range 500 {
		group.Go(func() {
			if got := ask(t, client, token("TOKEN")); got.GetDevice() == nil {
				t.Errorf("answered %v", got)
			}
		})
	}
	group.Wait()
}

// idle processes nothing.
func idle(ctx context.Context, _ ring.Lease) error {
	<-ctx.Done()
	return nil
}
