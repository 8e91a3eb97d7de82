package calls

import (
	"context"
	"encoding/json"
	"errors"
	"hash/maphash"
	"strings"
	"sync"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Values reads attributes.
type Values interface {
	Attributes(ctx context.Context, e ident.EntityID, scope storage.Scope, keys []string) ([]storage.Entry, error)
}

// Writer has attributes saved by their owner.
type Writer interface {
	SaveAttributes(ctx context.Context, tenant ident.TenantID, e ident.EntityID, scope storage.Scope, kvs []telemetry.KeyValue) error
}

// The server attribute of devices that asked for their credentials, and its value.
const (
	provisionState = "provisionState"
	provisioned    = "provisioned"
)

// Answers to devices that ask for credentials (device-api §1.11).
const (
	statusSuccess  = "SUCCESS"
	statusNotFound = "NOT_FOUND"
	statusFailure  = "FAILURE"
)

// Types of the rule messages about it (rule-engine reference §1.3).
const (
	provisionSuccess = "PROVISION_SUCCESS"
	provisionFailure = "PROVISION_FAILURE"
)

// names serialises the requests for one device, so that of two that come at once one finds it provisioned. They meet in one
// process, since their key is one.
type names struct {
	seed  maphash.Seed
	locks [64]sync.Mutex
}

func newNames() *names { return &names{seed: maphash.MakeSeed()} }

func (n *names) lock(tenant ident.TenantID, name string) (unlock func()) {
	l := &n.locks[maphash.String(n.seed, tenant.String()+name)%uint64(len(n.locks))]
	l.Lock()
	return l.Unlock
}

// request is one ProvisionDevice on its way.
type request struct {
	*sluicepb.ProvisionDevice
	profile entity.Profile
	name    string // trimmed; "" when none was given
}

// provision gives a device its credentials (device-api §1.11). Errors are the platform's; what is wrong with the request is
// part of the answer.
func (c Calls) provision(ctx context.Context, q *sluicepb.ProvisionDevice) (*sluicepb.Provisioned, error) {
	profile, err := c.Entities.DeviceProfiles.ByProvisionKey(ctx, q.GetProvisionKey())
	if errors.Is(err, storage.ErrNotFound) || q.GetProvisionKey() == "" || q.GetProvisionSecret() == "" {
		return notFound(), nil
	}
	if err != nil {
		return nil, away("find the profile of a provision key", err)
	}
	by, err := profile.Provisioning()
	if err != nil {
		return nil, err
	}
	if by.Strategy == entity.ProvisionDisabled || !sameSecret(by.Secret, q.GetProvisionSecret()) {
		return notFound(), nil
	}
	r := request{q, profile, strings.TrimSpace(q.GetDeviceName())}
	if q.GetHasDeviceName() && r.name == "" {
		return failure("deviceName: is blank"), nil
	}
	var answer *sluicepb.Provisioned
	switch by.Strategy {
	case entity.ProvisionNew:
		answer, err = c.provisionNew(ctx, r)
	case entity.ProvisionListed:
		answer, err = c.provisionListed(ctx, r)
	default:
		return failure("devices of this profile are taken on by the certificate chain they connect with"), nil
	}
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Conflict, fault.Limited, fault.NotFound:
		if err != nil {
			return failure(err.Error()), nil
		}
	}
	if err != nil {
		return nil, kinded(err, "provision a device")
	}
	return answer, nil
}

func notFound() *sluicepb.Provisioned {
	return &sluicepb.Provisioned{Status: statusNotFound, Error: "Provision data was not found!"}
}

func failure(why string) *sluicepb.Provisioned {
	return &sluicepb.Provisioned{Status: statusFailure, Error: "Failed to provision device! " + why}
}

func granted(c entity.Credentials) *sluicepb.Provisioned {
	value := c.CredentialsValue
	if c.Type == entity.AccessToken {
		value = c.CredentialsID
	}
	return &sluicepb.Provisioned{Status: statusSuccess, CredentialsType: string(c.Type), CredentialsValue: value}
}

// provisionNew makes a device of a name that is new.
func (c Calls) provisionNew(ctx context.Context, r request) (*sluicepb.Provisioned, error) {
	d := entity.Device{Tenant: r.profile.Tenant, Name: r.name, Profile: r.profile.ID}
	if d.Name == "" {
		d.Name = entity.NewToken()
	}
	if r.GetGateway() {
		d.AdditionalInfo = json.RawMessage(`{"gateway":true}`)
	}
	there, err := c.Entities.Devices.ByName(ctx, d.Tenant, d.Name)
	if err == nil {
		return failure("a device of that name exists"), c.tell(ctx, r, there, provisionFailure)
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return nil, err
	}
	credentials, err := r.credentials()
	if err != nil {
		return nil, err
	}
	made, err := c.Entities.Devices.Create(ctx, d, &credentials)
	if err != nil {
		return nil, err
	}
	if err := c.settle(ctx, r, made); err != nil {
		// Without its answer nobody knows the device's credentials, and its name would be taken for good.
		return nil, errors.Join(err, c.Entities.Devices.Delete(context.WithoutCancel(ctx), made.Tenant, made.ID))
	}
	return c.answerFor(ctx, made)
}

// provisionListed gives a device that people made its credentials, once: until its provisionState is deleted.
func (c Calls) provisionListed(ctx context.Context, r request) (*sluicepb.Provisioned, error) {
	if r.name == "" {
		return failure("deviceName: is missing"), nil
	}
	defer c.names.lock(r.profile.Tenant, r.name)()
	d, err := c.Entities.Devices.ByName(ctx, r.profile.Tenant, r.name)
	if errors.Is(err, storage.ErrNotFound) {
		return failure("there is no device of that name"), nil
	}
	if err != nil {
		return nil, err
	}
	if d.Profile != r.profile.ID {
		return failure("the device is of another profile"), c.tell(ctx, r, d, provisionFailure)
	}
	state, err := c.Values.Attributes(ctx, d.ID.Entity(), storage.Server, []string{provisionState})
	if err != nil {
		return nil, away("read whether a device is provisioned", err)
	}
	if len(state) > 0 {
		return failure("the device is provisioned already"), c.tell(ctx, r, d, provisionFailure)
	}
	if r.brings() {
		credentials, err := r.credentials()
		if err != nil {
			return nil, err
		}
		credentials.Tenant, credentials.Device = d.Tenant, d.ID
		if _, err := c.Entities.Devices.UpdateCredentials(ctx, credentials); err != nil {
			return nil, err
		}
	}
	if err := c.settle(ctx, r, d); err != nil {
		return nil, err
	}
	return c.answerFor(ctx, d)
}

func (c Calls) answerFor(ctx context.Context, d entity.Device) (*sluicepb.Provisioned, error) {
	credentials, err := c.Entities.Devices.Credentials(ctx, d.Tenant, d.ID)
	if err != nil {
		return nil, err
	}
	return granted(credentials), nil
}

// settle notes that d has its credentials and tells rule chains.
func (c Calls) settle(ctx context.Context, r request, d entity.Device) error {
	state := []telemetry.KeyValue{{Key: provisionState, Value: telemetry.OfString(provisioned)}}
	if err := c.Writer.SaveAttributes(ctx, d.Tenant, d.ID.Entity(), storage.Server, state); err != nil {
		return away("note that a device is provisioned", err)
	}
	return c.tell(ctx, r, d, provisionSuccess)
}

// tell carries the outcome into the device's rule chain; secrets stay out of it.
func (c Calls) tell(ctx context.Context, r request, d entity.Device, kind string) error {
	data, err := json.Marshal(map[string]any{
		"deviceName": d.Name, "credentialsType": r.kind(), "provisionDeviceKey": r.GetProvisionKey(), "gateway": r.GetGateway(),
	})
	if err != nil {
		return err
	}
	return c.Entities.Tell(ctx, entity.Change{Kind: kind, Tenant: d.Tenant, Originator: d.ID.Entity(), Data: string(data)})
}

func (r request) kind() entity.CredentialsType {
	if r.GetCredentialsType() == "" {
		return entity.AccessToken
	}
	return entity.CredentialsType(r.GetCredentialsType())
}

// brings reports whether the device brought credentials of its own.
func (r request) brings() bool { return r.kind() != entity.AccessToken || r.GetToken() != "" }

// credentials are those the device brought, else a new token.
func (r request) credentials() (entity.Credentials, error) {
	made := entity.Credentials{Type: r.kind()}
	switch made.Type {
	case entity.AccessToken:
		if made.CredentialsID = r.GetToken(); made.CredentialsID == "" {
			made.CredentialsID = entity.NewToken()
		}
	case entity.MQTTBasic:
		value, err := json.Marshal(entity.BasicValue{ClientID: r.GetClientId(), UserName: r.GetUsername(), Password: r.GetPassword()})
		if err != nil {
			return made, err
		}
		made.CredentialsValue = string(value)
	case entity.X509Certificate:
		made.CredentialsValue = r.GetCertificate()
	}
	return made, nil
}
