// Package calls answers transports: whose credentials are these, which device is it behind that gateway, may this one have
// credentials? Any core node can answer for any device, since only the store is touched.
package calls

import (
	"context"
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
	"github.com/sluice-iot/sluice/services/core-node/internal/queue"
)

// readTogether is how many calls are taken from the bus at once.
const readTogether = 512

// answerWithin bounds one call; the caller has given up by then.
const answerWithin = 10 * time.Second

// Calls answers the calls of the partitions this node owns, or owned last. Made by New.
type Calls struct {
	Options
	names *names
}

// Options is what Calls works with.
type Options struct {
	Bus       bus.Bus
	Entities  *entity.Registry
	Relations Relations
	Values    Values
	Writer    Writer
	Packages  Packages
	Queues    []queue.Queue // there are; a device of any other uses the main one
	Slots     int           // most calls answered at once, per partition
	Log       *slog.Logger
}

// New returns who answers calls.
func New(o Options) Calls { return Calls{o, newNames()} }

// Answer answers the calls of partition until ctx ends. It needs no lease: what it changes it changes by the store's
// conditions, and its commits only save the next reader calls whose callers have gone.
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
	answered, err := c.call(ctx, r.Value)
	if err != nil {
		answered = &sluicepb.TransportAnswer{Fault: fault.ToProto(err)}
	}
	body, err := proto.Marshal(answered)
	if err != nil {
		c.Log.Error("encode an answer", "err", err)
		return
	}
	c.Bus.Answer(r, body)
}

func (c Calls) call(ctx context.Context, request []byte) (*sluicepb.TransportAnswer, error) {
	var q sluicepb.TransportRequest
	if err := proto.Unmarshal(request, &q); err != nil {
		return nil, fault.Wrap(fault.Invalid, "parse a call", err)
	}
	switch body := q.GetBody().(type) {
	case *sluicepb.TransportRequest_ProvisionDevice:
		provisioned, err := c.provision(ctx, body.ProvisionDevice)
		return &sluicepb.TransportAnswer{Provisioned: provisioned}, err
	case *sluicepb.TransportRequest_SharedKey:
		return c.sharedKey(ctx, body.SharedKey.GetIdentity())
	case *sluicepb.TransportRequest_FindPackage:
		return c.findPackage(ctx, body.FindPackage)
	case *sluicepb.TransportRequest_ReadPackage:
		return c.readPackage(ctx, body.ReadPackage)
	default:
		device, err := c.device(ctx, &q)
		return &sluicepb.TransportAnswer{Device: device}, err
	}
}

// device answers the calls that ask for a device.
func (c Calls) device(ctx context.Context, q *sluicepb.TransportRequest) (*sluicepb.DeviceInfo, error) {
	var found entity.Credentials
	var err error
	switch body := q.GetBody().(type) {
	case *sluicepb.TransportRequest_ValidateToken:
		found, err = c.token(ctx, body.ValidateToken.GetToken())
	case *sluicepb.TransportRequest_ValidateBasic:
		found, err = c.basic(ctx, body.ValidateBasic)
	case *sluicepb.TransportRequest_ValidateCertificate:
		found, err = c.certificate(ctx, body.ValidateCertificate.GetChain())
	case *sluicepb.TransportRequest_GatewayDevice:
		return c.behind(ctx, body.GatewayDevice)
	default:
		return nil, fault.New(fault.Invalid, "call of no known kind")
	}
	if err != nil {
		return nil, err
	}
	return c.known(ctx, found)
}

// away gives a store's error the kind transports answer with "later".
func away(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(fault.Unavailable, doing, err)
}
