// Package rpc keeps the requests to the devices of a partition, as its owner does: who waits for what, which session of a
// device was told, what became of it. Persistent requests are rows of the store besides. device-api §1.9, §7.
package rpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/reference"
)

// Settings bound what is kept of requests to devices, and say how persistent ones are delivered.
type Settings struct {
	Pending             int           `name:"rpc-pending" help:"Most requests to one device that wait for it or for its answer; beyond, callers are refused (429)." default:"100"`
	PendingPartition    int           `name:"rpc-pending-partition" help:"The same of all devices of a partition." default:"10000"`
	PendingBytes        int64         `name:"rpc-pending-bytes" help:"Most bytes of all requests of a partition that are in memory." default:"67108864"`
	Bytes               int           `name:"rpc-bytes" help:"Largest request to a device: method, params and additional info." default:"65536"`
	Persistent          int           `name:"rpc-persistent" help:"Most persistent requests to one device that have not ended; beyond, callers are refused (429)." default:"100"`
	PersistentPartition int           `name:"rpc-persistent-partition" help:"The same of all devices of a partition." default:"50000"`
	Kept                int           `name:"rpc-kept" help:"Most ended persistent requests that are kept of one device; the oldest go first." default:"500"`
	Retention           time.Duration `name:"rpc-retention" help:"How long an ended persistent request is kept." default:"168h"`
	Longest             time.Duration `name:"rpc-longest" help:"How far ahead a persistent request may expire." default:"8760h"`
	LongestWait         time.Duration `name:"rpc-longest-wait" help:"How long a caller may wait for a request that is not persistent." default:"10m"`
	Retries             int           `name:"rpc-retries" help:"How often a persistent request is sent again that the device did not acknowledge, unless the request says otherwise; then it has failed." default:"5"`
	Acknowledge         time.Duration `name:"rpc-acknowledge" help:"How long a device has to acknowledge a persistent request." default:"10s"`
	Submit              Submit        `name:"rpc-submit" help:"Which persistent requests of a device are sent side by side: BURST all, SEQUENTIAL_ON_ACK_FROM_DEVICE one until it is acknowledged, SEQUENTIAL_ON_RESPONSE_FROM_DEVICE one until it has ended." default:"BURST" enum:"BURST,SEQUENTIAL_ON_ACK_FROM_DEVICE,SEQUENTIAL_ON_RESPONSE_FROM_DEVICE"`
	CloseUndelivered    bool          `name:"rpc-close-undelivered" help:"Close the session of a device that did not acknowledge a persistent request, which then waits for the next one, instead of giving the request up." default:"false"`
	Devices             int           `name:"rpc-devices" help:"Most devices of a partition whose requests are counted on; beyond, the count of one without requests begins anew." default:"200000"`
}

// DefaultSettings are the settings nobody changed, for tests and code that has no flags.
func DefaultSettings() Settings {
	return Settings{
		Pending: 100, PendingPartition: 10_000, PendingBytes: 64 << 20, Bytes: 64 << 10, Persistent: 100, PersistentPartition: 50_000,
		Kept: 500, Retention: 7 * 24 * time.Hour, Longest: 365 * 24 * time.Hour, LongestWait: 10 * time.Minute,
		Retries: 5, Acknowledge: 10 * time.Second, Submit: Burst, Devices: 200_000,
	}
}

// Validate names the first setting that cannot be.
func (s Settings) Validate() error {
	for _, one := range []struct {
		name  string
		value int64
	}{
		{"rpc-pending", int64(s.Pending)},
		{"rpc-pending-partition", int64(s.PendingPartition)},
		{"rpc-pending-bytes", s.PendingBytes},
		{"rpc-bytes", int64(s.Bytes)},
		{"rpc-persistent", int64(s.Persistent)},
		{"rpc-persistent-partition", int64(s.PersistentPartition)},
		{"rpc-kept", int64(s.Kept)},
		{"rpc-retention", int64(s.Retention)},
		{"rpc-longest", int64(s.Longest)},
		{"rpc-longest-wait", int64(s.LongestWait)},
		{"rpc-acknowledge", int64(s.Acknowledge)},
		{"rpc-devices", int64(s.Devices)},
	} {
		if one.value <= 0 {
			return fmt.Errorf("--%s: %d is not a positive number", one.name, one.value)
		}
	}
	if s.Retries < 0 {
		return fmt.Errorf("--rpc-retries: %d is negative", s.Retries)
	}
	return nil
}

// Submit says which persistent requests of one device are sent side by side.
type Submit string

// The strategies.
const (
	Burst      Submit = "BURST"
	OnAck      Submit = "SEQUENTIAL_ON_ACK_FROM_DEVICE"
	OnResponse Submit = "SEQUENTIAL_ON_RESPONSE_FROM_DEVICE"
)

// Status is how far a persistent request got, as the REST API names it.
type Status string

// The statuses.
const (
	Queued     Status = "QUEUED"
	Sent       Status = "SENT"
	Delivered  Status = "DELIVERED"
	Successful Status = "SUCCESSFUL"
	TimedOut   Status = "TIMEOUT" // not acknowledged; it is sent again
	Expired    Status = "EXPIRED"
	Failed     Status = "FAILED"
	Deleted    Status = "DELETED"
)

// ParseStatus reads a status by its name.
func ParseStatus(name string) (Status, bool) {
	switch s := Status(name); s {
	case Queued, Sent, Delivered, Successful, TimedOut, Expired, Failed, Deleted:
		return s, true
	}
	return "", false
}

// Record is a request; for a persistent one it is what the store keeps. Times are ms since the epoch.
type Record struct {
	ID             ident.ID       `json:"id"`
	Tenant         ident.TenantID `json:"-"`
	Device         ident.DeviceID `json:"-"`
	Method         string         `json:"method"`
	Params         string         `json:"params"` // JSON text
	OneWay         bool           `json:"oneway,omitempty"`
	Persistent     bool           `json:"-"`
	Created        int64          `json:"created"`
	Expires        int64          `json:"expires"`
	Retries        int            `json:"retries"` // -1: the setting's
	AdditionalInfo string         `json:"additionalInfo,omitempty"`

	// Number is what the device knows it by.
	Number   int32           `json:"number"`
	Status   Status          `json:"status"`
	Again    bool            `json:"again,omitempty"` // a session had it before
	Response json.RawMessage `json:"response,omitempty"`
}

// Over reports whether nothing happens to the record any more.
func (r *Record) Over() bool {
	switch r.Status {
	case Successful, Expired, Failed, Deleted:
		return true
	case Delivered:
		return r.OneWay
	}
	return false
}

func (r *Record) bytes() int64 {
	return int64(len(r.Method) + len(r.Params) + len(r.AdditionalInfo) + 512)
}

// Text is the record as the REST API and rule messages show it.
func (r *Record) Text() ([]byte, error) {
	type request struct {
		ID             ident.ID         `json:"id"`
		TenantID       reference.Entity `json:"tenantId"`
		DeviceID       reference.Entity `json:"deviceId"`
		OneWay         bool             `json:"oneway"`
		Expires        int64            `json:"expirationTime"`
		Body           map[string]any   `json:"body"`
		Persisted      bool             `json:"persisted"`
		Retries        *int             `json:"retries"`
		AdditionalInfo json.RawMessage  `json:"additionalInfo"`
	}
	tenant, device := reference.Of(ident.Tenant, r.Tenant.ID), reference.Of(ident.Device, r.Device.ID)
	info := json.RawMessage("null")
	if r.AdditionalInfo != "" {
		info = json.RawMessage(r.AdditionalInfo)
	}
	asked := request{
		ID: r.ID, TenantID: tenant, DeviceID: device, OneWay: r.OneWay, Expires: r.Expires, Persisted: true, AdditionalInfo: info,
		Body: map[string]any{"method": r.Method, "params": r.Params},
	}
	if r.Retries >= 0 {
		asked.Retries = &r.Retries
	}
	return json.Marshal(struct {
		ID             reference.Entity `json:"id"`
		CreatedTime    int64            `json:"createdTime"`
		TenantID       reference.Entity `json:"tenantId"`
		DeviceID       reference.Entity `json:"deviceId"`
		Expires        int64            `json:"expirationTime"`
		Request        request          `json:"request"`
		Response       json.RawMessage  `json:"response"`
		Status         Status           `json:"status"`
		AdditionalInfo json.RawMessage  `json:"additionalInfo"`
	}{reference.Of(sluicepb.EntityType_RPC, r.ID), r.Created, tenant, device, r.Expires, asked, r.Response, r.Status, info})
}

// Error is why a request was not answered, by the names rule chains know.
type Error string

// The errors.
const (
	NoConnection Error = "NO_ACTIVE_CONNECTION" // no session took it
	Timeout      Error = "TIMEOUT"
	NotFound     Error = "NOT_FOUND" // the device is gone
	Internal     Error = "INTERNAL"  // a session could not write it
)

// Outcome is how a request that is not persistent ended; for a persistent one, that it was taken on.
type Outcome struct {
	Payload string // what the device sent, as it sent it
	Error   Error  // or why it did not
}

// taken is the outcome of a persistent request.
func (r *Record) taken() Outcome { return Outcome{Payload: `{"rpcId":"` + r.ID.String() + `"}`} }

// ErrExpired is of a request that nobody waits for any more when it gets to its device's owner.
var ErrExpired = errors.New("the request has expired")

func refuse(format string, args ...any) error {
	return fault.New(fault.Limited, fmt.Sprintf(format, args...))
}
