// Package calls answers transports: who does this credential belong to? Any core node can answer
// for any device, since only the store is touched.
package calls

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// readTogether is how many calls are taken from the bus at once.
const readTogether = 512

// answerWithin bounds one call; the caller has given up by then.
const answerWithin = 10 * time.Second

// Calls answers the calls of the partitions this node owns, or owned last.
type Calls struct {
	Bus     bus.Bus
	Devices entity.Devices
	Slots   int // most calls answered at once, per partition
	Log     *slog.Logger
}

// Answer answers the calls of partition until ctx ends. It needs no lease: it changes nothing, and its commits only save the next
// reader calls whose callers have gone.
func (c Calls) Answer(ctx context.Context, partition int) error {
	reader, err := c.Bus.OpenReader(ctx, topics.TransportRequests, partition)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil
	case err != nil:
		return fmt.Errorf("open partition %d: %w", partition, err)
	}
	err = c.serve(ctx, reader, partition)
	return errors.Join(err, reader.Close())
}

func (c Calls) serve(ctx context.Context, reader bus.Reader, partition int) error {
	for {
		records, err := reader.Read(ctx, readTogether)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read calls: %w", err)
		}
		var answering errgroup.Group
		answering.SetLimit(c.Slots)
		for i := range records {
			answering.Go(func() error {
				c.answer(context.WithoutCancel(ctx), records[i])
				return nil
			})
		}
		_ = answering.Wait() // nothing fails: every call is answered
		// A call that is read again finds its caller gone; that a commit fails now and then does no harm.
		if err := reader.Commit(ctx, records[len(records)-1].Offset+1, ""); err != nil && ctx.Err() == nil {
			c.Log.Warn("commit calls", "partition", partition, "err", err)
		}
	}
}

func (c Calls) answer(ctx context.Context, r bus.Record) {
	if c.Bus.Expired(r) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	answered := &sluicepb.TransportAnswer{}
	device, err := c.call(ctx, r.Value)
	if err != nil {
		answered.Fault = fault.ToProto(err)
	} else {
		answered.Device = device
	}
	body, err := proto.Marshal(answered)
	if err != nil {
		c.Log.Error("encode an answer", "err", err)
		return
	}
	c.Bus.Answer(r, body)
}

func (c Calls) call(ctx context.Context, request []byte) (*sluicepb.DeviceInfo, error) {
	var q sluicepb.TransportRequest
	if err := proto.Unmarshal(request, &q); err != nil {
		return nil, fault.Wrap(fault.Invalid, "parse a call", err)
	}
	var found entity.Credentials
	var err error
	switch body := q.GetBody().(type) {
	case *sluicepb.TransportRequest_ValidateToken:
		found, err = c.token(ctx, body.ValidateToken.GetToken())
	case *sluicepb.TransportRequest_ValidateBasic:
		found, err = c.basic(ctx, body.ValidateBasic)
	default:
		return nil, fault.New(fault.Invalid, "call of no known kind")
	}
	if err != nil {
		return nil, err
	}
	return c.describe(ctx, found)
}

var errUnknown = errors.New("no device has these credentials")

func unknown() error {
	return fault.Wrap(fault.Unauthenticated, "validate credentials", errUnknown)
}

func (c Calls) find(ctx context.Context, id string) (entity.Credentials, error) {
	if id == "" {
		return entity.Credentials{}, unknown()
	}
	found, err := c.Devices.CredentialsByID(ctx, id)
	if errors.Is(err, storage.ErrNotFound) {
		return found, unknown()
	}
	return found, away("find credentials", err)
}

func (c Calls) token(ctx context.Context, token string) (entity.Credentials, error) {
	found, err := c.find(ctx, token)
	if err == nil && found.Type != entity.AccessToken {
		return found, unknown()
	}
	return found, err
}

// basic decides as device-api §1.2 does, in its steps A to C.
func (c Calls) basic(ctx context.Context, q *sluicepb.ValidateBasic) (entity.Credentials, error) {
	if q.GetUsername() == "" {
		if q.GetClientId() == "" {
			return entity.Credentials{}, unknown()
		}
		found, err := c.find(ctx, entity.ClientUserID(q.GetClientId(), ""))
		return found, refused(err, found, q)
	}
	found, err := c.find(ctx, entity.ClientUserID(q.GetClientId(), q.GetUsername()))
	switch {
	case err == nil && found.Type == entity.MQTTBasic:
		who, password := matches(found, q)
		if who && !password {
			return found, unknown()
		}
		if who {
			return found, nil
		}
	case err != nil && !errors.Is(err, errUnknown):
		return found, err
	}
	if found, err = c.find(ctx, q.GetUsername()); err != nil || found.Type == entity.AccessToken {
		return found, err
	}
	return found, refused(nil, found, q)
}

// refused is err, or that found is not what q presents.
func refused(err error, found entity.Credentials, q *sluicepb.ValidateBasic) error {
	if err != nil {
		return err
	}
	if who, password := matches(found, q); found.Type != entity.MQTTBasic || !who || !password {
		return unknown()
	}
	return nil
}

// matches compares what is stored; an empty stored field is not checked.
func matches(found entity.Credentials, q *sluicepb.ValidateBasic) (who, password bool) {
	var stored entity.BasicValue
	if err := json.Unmarshal([]byte(found.CredentialsValue), &stored); err != nil {
		return false, false
	}
	who = (stored.ClientID == "" || stored.ClientID == q.GetClientId()) &&
		(stored.UserName == "" || stored.UserName == q.GetUsername())
	return who, stored.Password == "" || sameSecret(stored.Password, q.GetPassword())
}

func (c Calls) describe(ctx context.Context, found entity.Credentials) (*sluicepb.DeviceInfo, error) {
	d, err := c.Devices.Device(ctx, found.Tenant, found.Device)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, unknown()
	}
	if err != nil {
		return nil, away("read a device", err)
	}
	transportType := "DEFAULT"
	profile, err := c.Devices.Profile(ctx, d.Tenant, d.Profile)
	switch {
	case err == nil && profile.TransportType != "":
		transportType = profile.TransportType
	case err != nil && !errors.Is(err, storage.ErrNotFound):
		return nil, away("read a device profile", err)
	}
	var info struct {
		Gateway bool `json:"gateway"`
	}
	// What people wrote there may be anything; only a clear true makes a gateway.
	_ = json.Unmarshal(d.AdditionalInfo, &info)
	return &sluicepb.DeviceInfo{
		TenantId: d.Tenant.ID[:], DeviceId: d.ID.ID[:], CustomerId: d.Customer.ID[:], DeviceProfileId: d.Profile[:],
		DeviceName: d.Name, DeviceType: d.Type, Gateway: info.Gateway, TransportType: transportType,
		Version: d.Version, CredentialsVersion: found.Version,
	}, nil
}

// away gives a store's error the kind transports answer with "later".
func away(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(fault.Unavailable, doing, err)
}
