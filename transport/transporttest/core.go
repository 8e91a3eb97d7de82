package transporttest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
)

// Core answers what transports ask of core nodes, from memory. Safe for concurrent use.
type Core struct {
	mu       sync.Mutex
	devices  []*Device
	profiles []*Profile
	packages []*Package
	fault    error
	stalled  chan struct{} // calls wait for it when not nil
	asked    int
	// byToken, byName and basic are devices by how they are found, made at the first look; nil: not yet.
	byToken map[string]*Device
	byName  map[deviceName]*Device
	basic   []*Device
}

// deviceName is a device's name in its tenant.
type deviceName struct {
	tenant ident.TenantID
	name   string
}

// Device is a device of Core. Set the fields before the device is used; the token is the MQTT
// username too. A Basic one is known by its fields instead.
type Device struct {
	ID             ident.DeviceID
	Tenant         ident.TenantID
	Name, Type     string
	Token          string
	Basic          *Basic
	TransportType  string
	Queue          string // its messages go to; "" is the main one
	Gateway        bool
	Overwrite      bool // of a gateway: OverwriteActivity
	Client, Shared []telemetry.KeyValue
	// Certificate is the leaf, DER, of a device known by it instead.
	Certificate []byte
	Profile     ident.ID
	Options     *sluicepb.ProfileOptions
	Rates       *sluicepb.RateLimits
	// Firmware and Software are what is assigned to it.
	Firmware, Software *Package
	// Behind is the gateway it was made for, if it was.
	Behind ident.DeviceID
	// MaxDevices, of a gateway, is how many the tenant may have; 0 is any number.
	MaxDevices int
}

// Profile is a device profile that makes credentials for devices that have none: Existing ones of the tenant named so once each, or else new ones.
type Profile struct {
	Key, Secret string
	Tenant      ident.TenantID
	Existing    []string
	done        map[string]bool
}

// Package is firmware or software.
type Package struct {
	ID                    ident.ID
	Title, Version        string
	FileName, ContentType string
	Data                  []byte
	URL                   string
}

// Basic are MQTT_BASIC credentials; an empty field is not checked.
type Basic struct{ ClientID, Username, Password string }

// NewCore returns a Core without devices.
func NewCore() *Core { return &Core{} }

// AddDevice adds a device of a tenant of its own, of type default, known by token.
func (c *Core) AddDevice(token string) *Device {
	d := &Device{
		ID: ident.DeviceID{ID: ident.New()}, Tenant: ident.TenantID{ID: ident.New()},
		Name: "Device " + token, Type: "default", Token: token, TransportType: "DEFAULT",
	}
	c.Add(d)
	return d
}

// Add adds d.
func (c *Core) Add(d *Device) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.devices, c.byToken = append(c.devices, d), nil
}

// Remove takes d away; its credentials are then unknown.
func (c *Core) Remove(d *Device) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.devices = slices.DeleteFunc(c.devices, func(other *Device) bool { return other == d })
	c.byToken = nil
}

// Change runs change with no question being answered meanwhile.
func (c *Core) Change(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	c.byToken = nil
}

// Fail makes every answer err; nil ends that.
func (c *Core) Fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = err
}

// Stall keeps all answers back until the returned function is called; they say what was so when the question came.
func (c *Core) Stall() (resume func()) {
	stalled := make(chan struct{})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stalled = stalled
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.stalled == stalled {
			c.stalled = nil
			close(stalled)
		}
	}
}

// Asked returns how many questions were put so far.
func (c *Core) Asked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

// Answer answers one call found on topic, for tests that serve a real bus.
func (c *Core) Answer(topic string, request []byte) ([]byte, error) {
	return c.answer(context.Background(), topic, request)
}

// answer says what is so now; when the answers are kept back, it comes later.
func (c *Core) answer(ctx context.Context, topic string, request []byte) ([]byte, error) {
	answer, stalled, err := c.answerNow(topic, request)
	if stalled != nil {
		select {
		case <-stalled:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return answer, err
}

func (c *Core) answerNow(topic string, request []byte) (answer []byte, stalled chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	switch topic {
	case topics.TransportRequests:
		answer, err = c.answerTransport(request)
	case topics.Core:
		answer, err = c.readAttributes(request)
	default:
		err = errors.New("no calls go to " + topic)
	}
	return answer, c.stalled, err
}

func (b *Basic) matches(c *sluicepb.ValidateBasic) bool {
	return (b.ClientID == "" || b.ClientID == c.GetClientId()) &&
		(b.Username == "" || b.Username == c.GetUsername()) &&
		(b.Password == "" || b.Password == c.GetPassword())
}

func (d *Device) info() *sluicepb.DeviceInfo {
	return &sluicepb.DeviceInfo{
		TenantId: d.Tenant.ID[:], DeviceId: d.ID.ID[:], DeviceName: d.Name, DeviceType: d.Type, DeviceProfileId: d.Profile[:],
		Gateway: d.Gateway, OverwriteActivity: d.Overwrite, TransportType: d.TransportType, QueueName: d.Queue, Options: d.Options, Rates: d.Rates,
	}
}

func (c *Core) readAttributes(request []byte) ([]byte, error) {
	var message sluicepb.CoreMessage
	if err := proto.Unmarshal(request, &message); err != nil {
		return nil, err
	}
	answer := &sluicepb.CoreAnswer{Fault: fault.ToProto(c.fault)}
	q := message.GetAttributesRequest()
	for _, d := range c.devices {
		if c.fault == nil && q != nil && string(d.ID.ID[:]) == string(message.GetEntity().GetId()) {
			answer.ClientAttributes = telemetry.ToProto(pick(d.Client, q.GetAllClient(), q.GetClientKeys()))
			answer.SharedAttributes = telemetry.ToProto(pick(d.Shared, q.GetAllShared(), q.GetSharedKeys()))
		}
	}
	return proto.Marshal(answer)
}

func pick(from []telemetry.KeyValue, all bool, keys []string) []telemetry.KeyValue {
	var out []telemetry.KeyValue
	for _, kv := range from {
		if all || slices.Contains(keys, kv.Key) {
			out = append(out, kv)
		}
	}
	return out
}
