package calls_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/bustest"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/blob/folder"
	"github.com/sluice-iot/sluice/services/core-node/internal/calls"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity/install"
	"github.com/sluice-iot/sluice/services/core-node/internal/ota"
	"github.com/sluice-iot/sluice/services/core-node/internal/password"
	"github.com/sluice-iot/sluice/services/core-node/internal/queue"
	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
	"github.com/sluice-iot/sluice/services/core-node/internal/ring"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/pebble"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// platform is a tenant's things in a store of their own, with calls answered over them.
type platform struct {
	*entity.Registry
	*recorder
	relations *relation.Registry
	library   *ota.Library
	store     *store
	tenant    ident.TenantID
	client    *bus.Client
}

// recorder is what was announced and told, and the owner that saves attributes.
type recorder struct {
	mu      sync.Mutex
	events  []*sluicepb.EntityEvent
	changes []entity.Change
	store   storage.Store
	away    atomic.Bool // the owner
}

func (r *recorder) Announce(_ context.Context, e *sluicepb.EntityEvent) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, proto.Clone(e).(*sluicepb.EntityEvent))
	return nil
}

func (r *recorder) Happened(_ context.Context, c entity.Change) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes = append(r.changes, c)
	return nil
}

// told returns the changes of a kind, oldest first.
func (r *recorder) told(kind string) []entity.Change {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.changes), func(c entity.Change) bool { return c.Kind != kind })
}

func (r *recorder) SaveAttributes(ctx context.Context, _ ident.TenantID, e ident.EntityID, scope storage.Scope, kvs []telemetry.KeyValue) error {
	if r.away.Load() {
		return fault.New(fault.Unavailable, "the owner is away")
	}
	return r.store.Write(ctx, []storage.Write{{Entity: e, Scope: scope, Time: 1, Stamp: 1, Values: kvs}})
}

// store is a store that may be away.
type store struct {
	storage.Store
	away atomic.Bool
}

func (s *store) ByClaim(ctx context.Context, claim string) (storage.Document, error) {
	if s.away.Load() {
		return storage.Document{}, storage.ErrUnavailable
	}
	return s.Store.ByClaim(ctx, claim)
}

func start(t *testing.T) *platform {
	t.Helper()
	kept, err := pebble.Open(pebble.Options{Dir: "store", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	p := &platform{recorder: &recorder{store: kept}, store: &store{Store: kept}, relations: relation.New(kept, relation.DefaultSettings())}
	p.library = ota.New(ota.Options{
		Blobs: folder.New(folder.Options{Dir: t.TempDir()}), Rows: kept, Partitions: bustest.Partitions, Settings: ota.DefaultSettings(),
		Log: slog.New(slog.DiscardHandler), Metrics: ota.NewMetrics(prometheus.NewRegistry()),
	})
	p.Registry = entity.New(p.store, entity.Options{
		Events: p.recorder, Lifecycle: p.recorder, Values: kept, Attached: []entity.Attached{p.library},
	})
	p.library.Over(p.Registry)
	if _, err := install.System(t.Context(), p.Registry, password.NewHasher(1, 1)); err != nil {
		t.Fatal(err)
	}
	p.tenant = p.newTenant(t, "Mine")
	p.client = bustest.Start(t)
	c := calls.New(calls.Options{
		Bus: p.client, Entities: p.Registry, Relations: p.relations, Values: kept, Writer: p.recorder,
		Packages: p.library, Queues: queue.Standard(0, time.Second), Slots: 4, Log: slog.New(slog.DiscardHandler),
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ring.Static(bustest.Partitions).Run(ctx, idle, c.Answer) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, kept.Close()); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *platform) newTenant(t *testing.T, title string) ident.TenantID {
	t.Helper()
	created, err := p.Tenants.Create(t.Context(), entity.Tenant{Title: title})
	if err != nil {
		t.Fatal(err)
	}
	return created.ID
}

// device makes a device with credentials; nil gives it a token.
func (p *platform) device(t *testing.T, d entity.Device, c *entity.Credentials) entity.Device {
	t.Helper()
	if d.Tenant.IsZero() {
		d.Tenant = p.tenant
	}
	if d.Name == "" {
		d.Name = ident.New().String()
	}
	created, err := p.Devices.Create(t.Context(), d, c)
	if err != nil {
		t.Fatal(err)
	}
	return created
}

func (p *platform) profile(t *testing.T, profile entity.Profile) entity.Profile {
	t.Helper()
	if profile.Tenant.IsZero() {
		profile.Tenant = p.tenant
	}
	created, err := p.DeviceProfiles.Create(t.Context(), profile)
	if err != nil {
		t.Fatal(err)
	}
	return created
}

func withToken(text string) *entity.Credentials {
	return &entity.Credentials{Type: entity.AccessToken, CredentialsID: text}
}

func withBasic(v entity.BasicValue) *entity.Credentials {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return &entity.Credentials{Type: entity.MQTTBasic, CredentialsValue: string(text)}
}

func (p *platform) ask(t *testing.T, q *sluicepb.TransportRequest) *sluicepb.TransportAnswer {
	t.Helper()
	return ask(t, p.client, q)
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

// gateway is the additionalInfo of one.
var gateway = json.RawMessage(`{"gateway":true}`)

func token(text string) *sluicepb.TransportRequest {
	return &sluicepb.TransportRequest{Body: &sluicepb.TransportRequest_ValidateToken{ValidateToken: &sluicepb.ValidateToken{Token: text}}}
}

func basic(client, user, password string) *sluicepb.TransportRequest {
	return &sluicepb.TransportRequest{Body: &sluicepb.TransportRequest_ValidateBasic{ValidateBasic: &sluicepb.ValidateBasic{
		ClientId: client, Username: user, Password: password, HasUsername: user != "", HasPassword: password != "",
	}}}
}

func TestWhoIsIt(t *testing.T) {
	p := start(t)
	add := func(c *entity.Credentials) ident.DeviceID {
		return p.device(t, entity.Device{AdditionalInfo: gateway, Type: "meter"}, c).ID
	}
	p.profile(t, entity.Profile{Name: "meter", TransportType: "MQTT"})
	byToken := add(withToken("TOKEN"))
	byClient := add(withBasic(entity.BasicValue{ClientID: "client"}))
	byUser := add(withBasic(entity.BasicValue{UserName: "user", Password: "secret"}))
	byBoth := add(withBasic(entity.BasicValue{ClientID: "c", UserName: "u", Password: "p"}))
	byX := add(withToken("X"))
	add(withToken("SHARED"))
	add(withBasic(entity.BasicValue{ClientID: "C2", UserName: "SHARED", Password: "right"}))
	byClientAndX := add(withBasic(entity.BasicValue{ClientID: "C", UserName: "X"}))
	gone := add(withToken("GONE"))
	if err := p.Devices.Delete(t.Context(), p.tenant, gone); err != nil {
		t.Fatal(err)
	}
	none := ident.DeviceID{}
	for name, test := range map[string]struct {
		q    *sluicepb.TransportRequest
		want ident.DeviceID
	}{
		"a token":                                      {token("TOKEN"), byToken},
		"no token":                                     {token(""), none},
		"an unknown token":                             {token("NOBODY"), none},
		"basic credentials are no token":               {token("user"), none},
		"a token of a device that is gone":             {token("GONE"), none},
		"a token as user name, whatever else":          {basic("any", "TOKEN", "any"), byToken},
		"M08 a client id alone":                        {basic("client", "", ""), byClient},
		"an unknown client id":                         {basic("stranger", "", ""), none},
		"nothing at all":                               {basic("", "", ""), none},
		"a user name and its password":                 {basic("", "user", "secret"), byUser},
		"M10 a user name, its password, any client id": {basic("any", "user", "secret"), byUser},
		"a user name without its password":             {basic("", "user", ""), none},
		"a user name with a wrong password":            {basic("", "user", "wrong"), none},
		"client id, user name and password":            {basic("c", "u", "p"), byBoth},
		"M09 both with a wrong password":               {basic("c", "u", "x"), none},
		"M09 even when the user name is a token":       {basic("C2", "SHARED", "wrong"), none},
		"M11 client id and user name":                  {basic("C", "X", ""), byClientAndX},
		"M11 another client id, and the token":         {basic("other", "X", ""), byX},
		"another client id":                            {basic("d", "u", "p"), none},
	} {
		answered := p.ask(t, test.q)
		if test.want == none {
			if fault.Kind(answered.GetFault().GetKind()) != fault.Unauthenticated || answered.GetDevice() != nil {
				t.Errorf("%s: answered %v", name, answered)
			}
			continue
		}
		d := answered.GetDevice()
		if ident.ID(d.GetDeviceId()) != test.want.ID || !d.GetGateway() || d.GetTransportType() != "MQTT" || d.GetVersion() != 1 || d.GetCredentialsVersion() != 1 {
			t.Errorf("%s: answered %v", name, answered)
		}
	}
}

func TestFaultsAreAnswered(t *testing.T) {
	p := start(t)
	p.device(t, entity.Device{}, withToken("TOKEN"))
	if got := p.ask(t, &sluicepb.TransportRequest{}); fault.Kind(got.GetFault().GetKind()) != fault.Invalid {
		t.Errorf("an empty call is answered %v", got)
	}
	p.store.away.Store(true)
	if got := p.ask(t, token("TOKEN")); fault.Kind(got.GetFault().GetKind()) != fault.Unavailable {
		t.Errorf("without the store it is answered %v", got)
	}
}

func TestManyAtOnce(t *testing.T) {
	p := start(t)
	p.device(t, entity.Device{}, withToken("TOKEN"))
	var group sync.WaitGroup
	for range 500 {
		group.Go(func() {
			if got := p.ask(t, token("TOKEN")); got.GetDevice() == nil {
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

// TestA20_TheQueueOfTheProfileIsTold: transports learn the queue with the device; one that is no more is the main one.
func TestA20_TheQueueOfTheProfileIsTold(t *testing.T) {
	p := start(t)
	for named, want := range map[string]string{"": "", "HighPriority": "HighPriority", "Gone": ""} {
		profile := p.profile(t, entity.Profile{Name: "queue " + named, DefaultQueue: named})
		p.device(t, entity.Device{Profile: profile.ID}, withToken("T "+named))
		if got := p.ask(t, token("T "+named)).GetDevice().GetQueueName(); got != want {
			t.Errorf("profile with queue %q: told %q, want %q", named, got, want)
		}
	}
}
