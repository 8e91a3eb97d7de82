package rpc

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Keeper keeps persistent requests as rows of the store. Those of a device are a group, which of its group a request is in
// is another, and a third says what has yet to end in a partition, in order of when it expires. All of them
// expire by themselves, long after the request has.
type Keeper struct {
	Rows      storage.Rows
	Retention time.Duration
}

func ofDevice(tenant ident.TenantID, device ident.DeviceID) string {
	return "rpc/" + tenant.String() + "/" + device.String()
}

func ofRequest(tenant ident.TenantID, id ident.ID) string {
	return "rpc-id/" + tenant.String() + "/" + id.String()
}

func unfinished(partition int) string { return fmt.Sprintf("rpc-due/%d", partition) }

// Unfinished is a persistent request that has not ended, as the list of its partition has it.
type Unfinished struct {
	Tenant  ident.TenantID
	Device  ident.DeviceID
	ID      ident.ID
	Expires int64
}

func (u Unfinished) key() []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(u.Expires)), u.ID[:]...)
}

func (r *Record) unfinished() Unfinished { return Unfinished{r.Tenant, r.Device, r.ID, r.Expires} }

// sideBySide is how many changes of rows are made at once.
const sideBySide = 16

// Keep stores changes of requests of one partition. After nil they are durable.
func (k Keeper) Keep(ctx context.Context, partition int, changes []Change, now time.Time) error {
	list := unfinished(partition)
	var begun []storage.Row
	var ended [][]byte
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(sideBySide)
	last := map[ident.ID]*Change{}
	for i := range changes {
		c := &changes[i]
		if c.New {
			u := c.Record.unfinished()
			begun = append(begun, storage.Row{Key: u.key(), Body: append(append([]byte(nil), u.Tenant.ID[:]...), u.Device.ID[:]...)})
		}
		if c.Record.Over() {
			u := c.Record.unfinished()
			ended = append(ended, u.key())
		}
		last[c.Record.ID] = c
	}
	if len(begun) > 0 {
		group.Go(func() error { return k.Rows.ChangeRows(ctx, list, begun, nil, 0) })
	}
	for i := range changes {
		if c := &changes[i]; c.New || last[c.Record.ID] == c || len(c.Prune) > 0 {
			group.Go(func() error { return k.keep(ctx, c, last[c.Record.ID] == c, now) })
		}
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("store requests to devices: %w", err)
	}
	if len(ended) == 0 {
		return nil
	}
	return k.Forget(context.WithoutCancel(ctx), partition, ended)
}

// keep stores one change; only the latest of a request is written.
func (k Keeper) keep(ctx context.Context, c *Change, latest bool, now time.Time) error {
	r := &c.Record
	life := k.Retention
	if !r.Over() {
		life += max(0, time.UnixMilli(r.Expires).Sub(now))
	}
	var put []storage.Row
	remove := make([][]byte, 0, len(c.Prune)+1)
	for _, id := range c.Prune {
		remove = append(remove, id[:])
	}
	switch {
	case !latest:
	case r.Status == Deleted:
		remove = append(remove, r.ID[:])
	default:
		body, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode a request: %w", err)
		}
		put = []storage.Row{{Key: r.ID[:], Body: body}}
	}
	if c.New {
		index := storage.Row{Key: []byte{1}, Body: r.Device.ID[:]}
		if err := k.Rows.ChangeRows(ctx, ofRequest(r.Tenant, r.ID), []storage.Row{index}, nil, life+k.Retention); err != nil {
			return err
		}
	}
	if len(put)+len(remove) == 0 {
		return nil
	}
	return k.Rows.ChangeRows(ctx, ofDevice(r.Tenant, r.Device), put, remove, life)
}

// Forget takes requests off the list of those that have not ended.
func (k Keeper) Forget(ctx context.Context, partition int, keys [][]byte) error {
	if err := k.Rows.ChangeRows(ctx, unfinished(partition), nil, keys, 0); err != nil {
		return fmt.Errorf("forget requests to devices: %w", err)
	}
	return nil
}

// Erase removes the requests of a device that is gone.
func (k Keeper) Erase(ctx context.Context, tenant ident.TenantID, device ident.DeviceID) error {
	if err := k.Rows.DeleteRows(ctx, ofDevice(tenant, device)); err != nil {
		return fmt.Errorf("remove requests to a device: %w", err)
	}
	return nil
}

// Unfinished returns what has not ended in a partition, what expires first coming first.
func (k Keeper) Unfinished(ctx context.Context, partition int) ([]Unfinished, error) {
	var all []Unfinished
	for row, err := range k.Rows.ScanRows(ctx, unfinished(partition), nil, nil, false) {
		if err != nil {
			return nil, fmt.Errorf("load requests to devices: %w", err)
		}
		if len(row.Key) != 24 || len(row.Body) != 32 {
			return nil, fmt.Errorf("load requests to devices: a row of %d and %d bytes", len(row.Key), len(row.Body))
		}
		all = append(all, Unfinished{
			Expires: int64(binary.BigEndian.Uint64(row.Key)), ID: ident.ID(row.Key[8:]),
			Tenant: ident.TenantID{ID: ident.ID(row.Body[:16])}, Device: ident.DeviceID{ID: ident.ID(row.Body[16:])},
		})
	}
	return all, nil
}

// Key is u's on the list of its partition.
func (u Unfinished) Key() []byte { return u.key() }

// Of returns a device's persistent requests, in order of their ids.
func (k Keeper) Of(ctx context.Context, tenant ident.TenantID, device ident.DeviceID) ([]Record, error) {
	var all []Record
	for row, err := range k.Rows.ScanRows(ctx, ofDevice(tenant, device), nil, nil, false) {
		if err != nil {
			return nil, fmt.Errorf("read requests to a device: %w", err)
		}
		r, err := read(row, tenant, device)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// Get returns a tenant's persistent request; storage.ErrNotFound if there is none.
func (k Keeper) Get(ctx context.Context, tenant ident.TenantID, id ident.ID) (Record, error) {
	for at, err := range k.Rows.ScanRows(ctx, ofRequest(tenant, id), nil, nil, false) {
		if err != nil {
			return Record{}, fmt.Errorf("find a request: %w", err)
		}
		device, err := ident.FromBytes(at.Body)
		if err != nil {
			return Record{}, fmt.Errorf("find a request: %w", err)
		}
		return k.On(ctx, tenant, ident.DeviceID{ID: device}, id)
	}
	return Record{}, storage.ErrNotFound
}

// On is Get of a request to a device that is known.
func (k Keeper) On(ctx context.Context, tenant ident.TenantID, device ident.DeviceID, id ident.ID) (Record, error) {
	for row, err := range k.Rows.ScanRows(ctx, ofDevice(tenant, device), id[:], append(id[:], 0), false) {
		if err != nil {
			return Record{}, fmt.Errorf("read a request: %w", err)
		}
		return read(row, tenant, device)
	}
	return Record{}, storage.ErrNotFound
}

func read(row storage.Row, tenant ident.TenantID, device ident.DeviceID) (Record, error) {
	r := Record{Tenant: tenant, Device: device, Persistent: true}
	if err := json.Unmarshal(row.Body, &r); err != nil {
		return r, fmt.Errorf("read a request: %w", err)
	}
	return r, nil
}
