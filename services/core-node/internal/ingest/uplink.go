package ingest

import (
	"context"
	"errors"
	"strconv"

	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/state"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// takeUplink starts the messages of record i, an uplink or a rule message.
func (p *partition) takeUplink(ctx context.Context, pk *pack, i int) error {
	if err := pk.broken[i]; err != nil {
		p.tally.taken++
		p.buryRecord(pk, i, "decode", err)
		return nil
	}
	flights := pk.flights[pk.first[i]:pk.first[i+1]]
	if len(flights) == 0 {
		return nil
	}
	only := -1
	if text := header(&pk.records[i], topics.RecordIndexHeader); text != "" {
		if index, err := strconv.Atoi(text); err == nil {
			only = index
		}
	}
	p.g.transports.heard(header(&pk.records[i], topics.TransportHeader))
	if tenant, device, at, ok := pk.heard(i); ok {
		d, err := p.device(ctx, tenant, device)
		if errors.Is(err, storage.ErrNotFound) {
			p.tally.taken += len(flights)
			p.tally.refused += len(flights)
			return nil
		}
		if err != nil {
			return err
		}
		p.tracker.Active(d, at/1000)
	}
	for n := range flights {
		if only >= 0 && flights[n].Message.Index != only {
			continue
		}
		if err := p.begin(ctx, &flights[n]); err != nil {
			return err
		}
	}
	return nil
}

// heard is the device that record i comes from, if it comes from one and not from a rule chain, and when it was received, µs.
func (p *pack) heard(i int) (tenant ident.TenantID, device ident.DeviceID, at int64, ok bool) {
	if header(&p.records[i], topics.KindHeader) != topics.KindRuleMessage {
		u := &p.uplinks[i]
		return u.Tenant, u.Device, u.ReceivedAt, true
	}
	f := &p.flights[p.first[i]]
	m := &f.Message
	ok = m.Type == rule.RPCFromDevice && f.Position == nil && m.Originator.Type == ident.Device
	return m.Tenant, ident.DeviceID{ID: m.Originator.ID}, m.ReceivedAt, ok
}

// device finds a device's state; storage.ErrNotFound means that it is gone.
func (p *partition) device(ctx context.Context, tenant ident.TenantID, id ident.DeviceID) (d *state.Device, err error) {
	if d = p.tracker.Known(id); d != nil && d.Tenant == tenant {
		return d, nil
	}
	err = p.steady(ctx, "read a device", func() (err error) {
		d, err = p.tracker.Device(ctx, tenant, id)
		return err
	})
	return d, err
}

func (p *partition) chain(ctx context.Context, tenant ident.TenantID, profile ident.ID) (*rule.Chain, error) {
	if p.memo.chain != nil && p.memo.tenant == tenant && p.memo.profile == profile {
		return p.memo.chain, nil
	}
	var chain *rule.Chain
	err := p.steady(ctx, "find a rule chain", func() (err error) {
		chain, err = p.d.Chains.For(ctx, p.d.Now(), tenant, profile)
		return err
	})
	if err != nil {
		return nil, err
	}
	p.memo = memo{tenant, profile, chain}
	return chain, nil
}
