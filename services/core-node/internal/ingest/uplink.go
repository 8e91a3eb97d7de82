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
	if header(&pk.records[i], topics.KindHeader) != topics.KindRuleMessage {
		u := &pk.uplinks[i]
		d, err := p.device(ctx, u.Tenant, u.Device)
		if errors.Is(err, storage.ErrNotFound) {
			p.tally.taken += len(flights)
			p.tally.refused += len(flights)
			return nil
		}
		if err != nil {
			return err
		}
		p.tracker.Active(d, u.ReceivedAt/1000)
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

// begin takes f on and starts it. Its Owner is its *place, whose pack waits for it.
func (p *partition) begin(ctx context.Context, f *rule.Flight) error {
	p.tally.taken++
	if pk := f.Owner.(*place).pack; pk != nil {
		pk.open++
	}
	chain, err := p.chain(ctx, f.Message.Tenant, f.Message.Profile)
	if err != nil {
		if ctx.Err() != nil || errors.Is(err, errLease) {
			return err
		}
		f.Attempts++
		f.Fail("rule chain", err)
		p.failed = append(p.failed, f)
		return nil
	}
	f.Chain = chain
	return p.engine.Start(ctx, f)
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
