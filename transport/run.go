package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/transport/limit"
	"github.com/sluice-iot/sluice/transport/payload"
	"github.com/sluice-iot/sluice/transport/redis"
)

// Transport is what all device protocols of a process share. It implements the interfaces of transport.go that are
// used from above, and is safe for concurrent use.
type Transport struct {
	config  Config
	bus     bus.Bus
	log     *slog.Logger
	metrics *metrics
	ids     *messageIDs

	devices     shared[ident.DeviceID, deviceState]
	tenants     shared[ident.TenantID, tenantState]
	profiles    shared[ident.ID, profileState]
	credentials *credentials
	events      events
	sessions    *sessions
	activity    activity
	schemas     *schemas
	strangers   *strangers
	parts       *parts
	calls       deviceCalls
	polls       polls

	// What a fleet's transports share through Redis; nil without it.
	redis    *redis.Client
	history  *history
	verdicts *sharedVerdicts
	ledger   *limit.Ledger

	rules            payload.Options
	drafts, receipts sync.Pool
}

var (
	_ CachedAuthenticator = (*Transport)(nil)
	_ Uplinks             = (*Transport)(nil)
	_ AttributeReader     = (*Transport)(nil)
	_ Sessions            = (*Transport)(nil)
	_ RPCs                = (*Transport)(nil)
	_ Formats             = (*Transport)(nil)
	_ Polls               = (*Transport)(nil)
	_ Claims              = (*Transport)(nil)
	_ Provisioner         = (*Transport)(nil)
	_ Packages            = (*Transport)(nil)
	_ Gateways            = (*Transport)(nil)
)

// New returns the Transport of this process. It becomes the reader of b's inbox, so b is its
// alone; it starts nothing until Run.
func New(c Config, b bus.Bus, o Options) (*Transport, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	t := &Transport{config: c, bus: b, log: o.Log, ids: newMessageIDs()}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if err = errors.Join(c.DeviceLimits.check("device-limit"), c.TenantLimits.check("tenant-limit")); err != nil {
		return nil, err
	}
	if t.metrics, err = newMetrics(o.Metrics); err != nil {
		return nil, err
	}
	if t.credentials, err = newCredentials(&t.config); err != nil {
		return nil, err
	}
	t.calls = deviceCalls{t: t, pending: map[ident.ID]*deviceCall{}}
	t.polls = polls{t: t, open: map[pollKey]*poll{}}
	if t.strangers, err = newStrangers(&t.config, t.metrics.strangers); err != nil {
		return nil, err
	}
	t.schemas, t.parts = newSchemas(c.SchemaCacheBytes), newParts(t)
	t.sessions = newSessions(t, strings.TrimPrefix(b.ReplyTopic(), topics.TransportResponses))
	t.activity.t, t.activity.last = t, time.Now().UnixMilli()
	t.rules = payload.Options{
		KeepNumericStrings: !c.NumericStrings, MaxDepth: c.PayloadDepth, MaxValues: c.PayloadValues, MaxText: c.PayloadTextSize,
	}
	t.drafts.New = func() any { return &draft{decoder: payload.NewDecoder(t.rules)} }
	t.receipts.New = func() any {
		r := &receipt{transport: t}
		r.finish = r.finished
		return r
	}
	if err := t.openRedis(o.Metrics); err != nil {
		return nil, err
	}
	b.OnMessage(t.onMessage)
	return t, nil
}

// housekeeping is how often sessions are looked at that are due for renewal.
const housekeeping = time.Second

// Run follows entity changes, renews sessions and reports activity until ctx ends. Without it
// the Transport works, but believes verdicts for a moment only. Stop the services that use it first.
func (t *Transport) Run(ctx context.Context) error {
	var wait sync.WaitGroup
	wait.Go(func() { t.followEvents(ctx) })
	wait.Go(func() { t.sessions.followOwners(ctx) })
	wait.Go(func() { t.sessions.followChanges(ctx) })
	if t.redis != nil {
		wait.Go(func() { t.redis.Run(ctx) })
		wait.Go(func() { t.shareRates(ctx) })
	}
	t.keepHouse(ctx)
	wait.Wait()
	t.calls.close()
	t.credentials.close()
	t.parts.close()
	t.closeRedis()
	t.activity.report(time.Now())
	return nil
}

func (t *Transport) keepHouse(ctx context.Context) {
	renewal := time.NewTicker(min(housekeeping, t.config.SessionRenewal))
	defer renewal.Stop()
	report := time.NewTicker(t.config.ActivityReport)
	defer report.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-renewal.C:
			t.sessions.renew(now)
		case now := <-report.C:
			t.activity.report(now)
		}
	}
}

// onMessage hands a downlink to its session. One for a session that is gone is counted and dropped:
// the core hears of the session's end by itself.
func (t *Transport) onMessage(r bus.Record) {
	kind, err := t.deliver(r.Value)
	if err != nil {
		t.log.Debug("a downlink could not be delivered", slog.Int64("offset", r.Offset), slog.Any("err", err))
	}
	t.metrics.downlinks.WithLabelValues(kind, result(err)).Inc()
}

func (t *Transport) deliver(value []byte) (kind string, err error) {
	var downlink sluicepb.DeviceDownlink
	if err := proto.Unmarshal(value, &downlink); err != nil {
		return "unreadable", fmt.Errorf("read downlink: %w", err)
	}
	id, err := ident.FromBytes(downlink.GetSessionId())
	if err != nil {
		return "unreadable", fmt.Errorf("read downlink: %w", err)
	}
	s := t.sessions.find(id)
	switch body := downlink.GetBody().(type) {
	case *sluicepb.DeviceDownlink_AttributesUpdated:
		if s == nil {
			return "attributes", errNoSession
		}
		s.downlinks.AttributesUpdated(telemetry.FromProto(body.AttributesUpdated.GetUpdated()), body.AttributesUpdated.GetDeleted())
		return "attributes", nil
	case *sluicepb.DeviceDownlink_RpcRequest:
		if s == nil {
			return "rpc", errNoSession
		}
		request, err := readRPC(body.RpcRequest)
		if err == nil {
			s.downlinks.RPC(request)
		}
		return "rpc", err
	case *sluicepb.DeviceDownlink_RpcAnswer:
		if !t.calls.answered(id, body.RpcAnswer) {
			return "rpc_answer", errNoCall
		}
		return "rpc_answer", nil
	case *sluicepb.DeviceDownlink_CloseSession:
		if s == nil || !t.sessions.end(s, body.CloseSession.GetReason()) {
			return "close", errNoSession
		}
		return "close", nil
	default:
		return "unknown", errUnknownDownlink
	}
}
