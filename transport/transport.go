// Package transport is what every device protocol does the same way: who a device is, what it
// may send, how its readings become uplinks on the bus, how downlinks find its session.
//
// A protocol's service owns sockets and wire formats; it calls Authenticate once per session
// (or request), then PublishTelemetry and PublishAttributes, and acknowledges to the device
// from the callback, never earlier: nil means the bus has it durably.
//
// A process has one Transport, however many protocols it serves: the program makes it with New
// and hands it to each service (`New(Config, *transport.Transport, process.Env)`), so that a
// device's clock, session and rates are one over all protocols. Services use it through the
// interfaces below.
package transport

import (
	"context"
	"net/netip"
	"time"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
)

// Device is an authenticated device, as Authenticate found it. What must be one per device and
// process (its clock, its rates) is shared by all Devices of one id. Safe for concurrent use;
// only Authenticate makes one that a Transport takes.
type Device struct {
	Tenant        ident.TenantID
	ID            ident.DeviceID
	Customer      ident.CustomerID
	Profile       ident.ID
	Name          string
	Type          string
	Gateway       bool
	TransportType string // DEFAULT, MQTT or COAP: which transports may serve it
	// OverwriteActivity, of a gateway: what is heard of it counts for the devices behind it.
	OverwriteActivity bool

	state       *deviceState
	gateway     *deviceState // of the gateway it was asked for behind; else nil
	topic       string       // of its uplinks
	queue       string       // the same as rule messages name it
	credentials Credentials  // to ask again when the device changes
}

// Options are what d's profile says about transports, as last read. They are shared and never nil: read only, and ask again
// rather than keep them.
func (d *Device) Options() *sluicepb.ProfileOptions {
	if d.state == nil {
		return noOptions // it is no Transport's
	}
	return d.state.options.Load()
}

// Credentials are what a device presented.
type Credentials struct {
	Token string // HTTP and CoAP: the token in the path. Set Token or the rest.
	// MQTT: the CONNECT's fields.
	ClientID, Username, Password string
	HasUsername, HasPassword     bool
	// Certificates is the client's certificate chain, DER one after the other, the leaf first; nothing else is looked at
	// when it is set.
	Certificates string
	// From is the address they come from, which is held to a rate of wrong ones; the zero Addr is not.
	From netip.Addr

	// behind is set when it is asked for a device behind a gateway (Gateways): Username is its name then, ClientID its kind.
	behind behind
}

// CachedAuthenticator is an Authenticator that can tell what it knows already. A protocol whose
// devices share one socket asks it first, so that one unknown device never holds up the others.
type CachedAuthenticator interface {
	Authenticator
	// Cached returns what Authenticate would return of c without waiting. It never waits;
	// known false says nothing about c: ask Authenticate.
	Cached(c Credentials) (d *Device, known bool, err error)
}

// Origin says where an uplink came from; it travels in the uplink.
type Origin struct {
	Transport string // MQTT, HTTP or COAP
	Topic     string // the MQTT topic
	// Session is told as active by the uplink; zero for HTTP and CoAP requests.
	Session ident.ID
	// Format is how the payload is written.
	Format Format
}

// Format is how a payload is written.
type Format uint8

// The formats. ByProfile is what the device's profile says: JSON unless it has schemas.
const (
	ByProfile Format = iota
	JSON
	Protobuf
)

// Authenticator tells who a device is.
type Authenticator interface {
	// Authenticate returns the device c belongs to. Errors are of fault.Kind Unauthenticated
	// (unknown or wrong), Denied, Limited or Unavailable. It may wait for a call to the core.
	Authenticate(ctx context.Context, c Credentials) (*Device, error)
}

// Uplinks takes readings on.
type Uplinks interface {
	// PublishTelemetry decodes payload (as from.Format says) and puts it on the bus. After a nil return done
	// is called exactly once, from a bus goroutine or (nothing to store) before the return; after an error never. Errors: fault.Invalid
	// (payload refused), fault.Limited (rate limit, size), bus.ErrFull (wait for Room, then call again). payload is not kept.
	PublishTelemetry(d *Device, from Origin, payload []byte, done func(error)) error
	// PublishAttributes is the same for client-scope attributes.
	PublishAttributes(d *Device, from Origin, payload []byte, done func(error)) error
	// Room returns a channel that is closed when the queue that d's uplinks go to has room again.
	Room(d *Device) <-chan struct{}
}

// AttributeQuery names attributes to read. All* reads a whole scope.
type AttributeQuery struct {
	AllClient, AllShared   bool
	ClientKeys, SharedKeys []string
}

// Attributes is an answer to an AttributeQuery.
type Attributes struct{ Client, Shared []telemetry.KeyValue }

// AttributeReader reads a device's attributes.
type AttributeReader interface {
	// ReadAttributes asks the device's owner. Errors as Authenticate's.
	ReadAttributes(ctx context.Context, d *Device, q AttributeQuery) (Attributes, error)
}

// Downlinks is what a session offers to the platform. Its methods are called from a goroutine
// of the transport and must not block.
type Downlinks interface {
	// AttributesUpdated delivers changed and deleted shared attributes.
	AttributesUpdated(updated []telemetry.KeyValue, deleted []string)
	// RPC delivers a request to the device. Only sessions that called SubscribeRPC get any.
	RPC(r RPCRequest)
	// Close ends the session for reason.
	Close(reason sluicepb.CloseReason)
}

// Sessions keeps the sessions of this process and tells the core of them.
type Sessions interface {
	// Open registers a session of d; the newest wins: when d has one already in this process, that one is closed with TAKEN_OVER.
	// It returns once the bus has the SessionOpened (Unavailable otherwise).
	Open(ctx context.Context, d *Device, transport string, downlinks Downlinks) (Session, error)
}

// Session is one registered session.
type Session interface {
	ID() ident.ID
	// Active notes activity that was no uplink (PINGREQ, SUBSCRIBE). Cheap; reported in batches.
	Active()
	// SubscribeRPC says whether the session takes requests to the device; it takes none at first. Those that waited come at once.
	// It does not block; a report that is lost is made up for when the session is announced again.
	SubscribeRPC(on bool)
	// Close forgets the session and tells the core. It does not block; repeated calls do nothing.
	Close()
}

// RPCRequest is a request of the platform to a device.
type RPCRequest struct {
	ID         int32 // the device's requests are counted from 0
	Method     string
	Params     string   // JSON text
	Request    ident.ID // names it among all
	Expires    time.Time
	OneWay     bool
	Persistent bool
	// Acknowledge is how long the device has to acknowledge it, where the protocol can tell.
	Acknowledge time.Duration
	Again       bool // it was sent before and was not acknowledged
}

// RPCs carries requests both ways. done is called as PublishTelemetry calls it, and errors are the same.
type RPCs interface {
	// ReplyRPC takes on what the device answered to request id: any text, or a message of the schema its profile has for replies.
	ReplyRPC(d *Device, id int32, from Origin, payload []byte, done func(error)) error
	// ReportRPC says how far a request got. It does not block; a report that is lost is as good as none.
	ReportRPC(d *Device, session ident.ID, r RPCRequest, stage sluicepb.RpcStage)
	// CallRPC is the device's own request id to its rule chain: payload is {"method":…,"params":…}, or the message for it. answer is called once, after
	// done(nil), with what the chain answered (JSON text) or, after rpc-timeout, with {"error":"timeout"}; never when done got an error. ctx ended means that
	// nobody waits for answer any more.
	CallRPC(ctx context.Context, d *Device, id int32, from Origin, payload []byte, done func(error), answer func(payload string)) error
}

// Formats writes what goes to devices that are sent protobuf messages in place of JSON; package payload has the others.
type Formats interface {
	// EncodeRPC returns r as a message of the schema that d's profile has for requests. fault.Invalid: it does not fit.
	EncodeRPC(d *Device, r RPCRequest) ([]byte, error)
}

// Polls waits for single downlinks of devices that have no session.
type Polls interface {
	// PollAttributes returns the next change of shared attributes from now on. Errors: ctx's, ErrDeviceDeleted, fault.Limited, fault.Unavailable.
	PollAttributes(ctx context.Context, d *Device) (updated []telemetry.KeyValue, deleted []string, err error)
	// PollRPC returns a request that waits for the device, or the next. Every poll of the device gets it.
	PollRPC(ctx context.Context, d *Device) (RPCRequest, error)
}

// Claims takes a device's consent to be claimed: payload is empty, {"secretKey":…,"durationMs":…} or the message for it.
type Claims interface {
	Claim(d *Device, from Origin, payload []byte, done func(error)) error
}

// Provisioner makes credentials for devices that have none.
type Provisioner interface {
	// Provision takes a request as devices send it, JSON or, if it is not JSON and mayBeProtobuf, protobuf, and returns the answer in
	// the same form, and whether it tells of success. Errors are of kind Invalid (no such request), Limited or Unavailable.
	Provision(ctx context.Context, request []byte, mayBeProtobuf bool, from netip.Addr) (answer []byte, granted bool, err error)
}

// Package is firmware or software assigned to a device.
type Package struct {
	ID                    ident.ID
	Tenant                ident.TenantID
	Title, Version        string
	Size                  int64
	FileName, ContentType string
	URL                   string // of the data, when the platform does not have it
}

// Packages reads firmware and software.
type Packages interface {
	// FindPackage returns what is assigned to d. fault.NotFound: nothing is.
	FindPackage(ctx context.Context, d *Device, t sluicepb.PackageType) (Package, error)
	// ReadPackage returns the bytes [offset, offset+length) of p, fewer at its end, none beyond. They are shared: read only.
	ReadPackage(ctx context.Context, p Package, offset, length int64) ([]byte, error)
}

// Gateways finds the devices behind gateways.
type Gateways interface {
	// Behind returns the device called name in g's tenant, created with a profile of the name kind ("" is default) when there is none.
	// What it sends counts against g's rates too. Errors: ErrTooManyDevices, and Authenticate's.
	Behind(ctx context.Context, g *Device, name, kind string) (*Device, error)
}
