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

	state       *deviceState
	credentials Credentials // to ask again when the device changes
}

// Credentials are what a device presented.
type Credentials struct {
	Token string // HTTP and CoAP: the token in the path. Set Token or the rest.
	// MQTT: the CONNECT's fields.
	ClientID, Username, Password string
	HasUsername, HasPassword     bool
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
}

// Authenticator tells who a device is.
type Authenticator interface {
	// Authenticate returns the device c belongs to. Errors are of fault.Kind Unauthenticated
	// (unknown or wrong), Denied, Limited or Unavailable. It may wait for a call to the core.
	Authenticate(ctx context.Context, c Credentials) (*Device, error)
}

// Uplinks takes readings on.
type Uplinks interface {
	// PublishTelemetry decodes payload (JSON) and puts it on the bus. After a nil return done
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
	// Close forgets the session and tells the core. It does not block; repeated calls do nothing.
	Close()
}
