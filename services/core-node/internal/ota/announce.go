package ota

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

const (
	// changeGrace is how long after a change was noted its maker may still be at work; then others take it up.
	changeGrace = 2 * time.Minute
	// pageOfDevices is how many devices of a profile are told before how far that came is noted.
	pageOfDevices = 512
	// rounds is how often a device is looked at again that somebody else keeps changing.
	rounds = 8
)

// Changing implements entity.Assignments. A device is told before changed returns, or, where its owner is away, within minutes; the
// devices of a profile by the owner of its partition, after changed has returned.
func (l *Library) Changing(ctx context.Context, tenant ident.TenantID, e ident.EntityID) (changed func(context.Context), err error) {
	t := task{Kind: deviceTask, Tenant: tenant, ID: e.ID, At: l.o.Now().UnixMilli()}
	if e.Type == ident.DeviceProfile {
		t.Kind = profileTask
	}
	key, err := l.journal.note(ctx, t, l.o.Now().Add(changeGrace))
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeGrace/2)
		defer cancel()
		var err error
		if t.Kind == profileTask {
			err = l.journal.hasten(ctx, entry{t, key}, l.o.Now())
			l.Look()
		} else if err = l.announce(ctx, t.Tenant, ident.DeviceID{ID: t.ID}, t.At); err == nil {
			err = l.journal.done(ctx, t, key)
		}
		if err != nil {
			l.o.Log.Warn("tell of an OTA package; it is tried again later", "of", e, "err", err)
		}
	}, nil
}

// announceSome tells the next devices of a profile and reports whether there may be more.
func (l *Library) announceSome(ctx context.Context, e *entry) (more bool, err error) {
	devices, last, err := l.entities.Devices.OfProfile(ctx, e.Tenant, e.ID, e.After, pageOfDevices)
	if err != nil {
		return false, err
	}
	var telling errgroup.Group
	telling.SetLimit(l.o.Settings.Announcements)
	for _, d := range devices {
		telling.Go(func() error { return l.announce(ctx, e.Tenant, d, e.At) })
	}
	if err := telling.Wait(); err != nil || last.IsZero() {
		return false, err
	}
	e.After = last
	return true, l.journal.put(ctx, *e)
}

var errRestless = fault.New(fault.Unavailable, "OTA package of a device changes faster than it can be told")

// announce makes a device's attributes those of the packages it has now, and tells it; at (ms) is when that was asked for. A device
// that has them already is told nothing. What its owner refuses for good is counted, and left.
func (l *Library) announce(ctx context.Context, tenant ident.TenantID, id ident.DeviceID, at int64) error {
	for range rounds {
		d, err := l.entities.Devices.Device(ctx, tenant, id)
		if errors.Is(err, storage.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		told := false
		for _, t := range []entity.PackageType{entity.Firmware, entity.Software} {
			now, err := l.announceType(ctx, d, t, at)
			if kind := fault.KindOf(err); kind == fault.Invalid || kind == fault.NotFound {
				l.o.Metrics.refused.Inc()
				l.o.Log.Warn("a device's owner refuses what its OTA package is", "device", id, "err", err)
				return nil
			}
			if err != nil {
				return err
			}
			told = told || now
		}
		if !told { // and what was told is still so
			return nil
		}
	}
	return errRestless
}

// announceType does so for one type, and reports whether there was anything to tell.
func (l *Library) announceType(ctx context.Context, d entity.Device, t entity.PackageType, at int64) (told bool, err error) {
	names := namesOf(t)
	p, err := l.entities.Packages.PackageOf(ctx, d, t)
	var want []values.KeyValue
	switch {
	case err == nil:
		want = names.attributes(p)
	case !errors.Is(err, storage.ErrNotFound):
		return false, err
	}
	have, err := l.o.Values.Attributes(ctx, d.ID.Entity(), storage.Shared, names.all())
	if err != nil {
		return false, fault.Wrap(fault.Unavailable, "read attributes", err)
	}
	gone := stale(have, want)
	if len(gone) == 0 && len(have) == len(want) && matches(have, want) {
		return false, nil
	}
	if len(gone) > 0 {
		if err := l.o.Writer.DeleteAttributes(ctx, d.Tenant, d.ID.Entity(), storage.Shared, gone); err != nil {
			return false, fmt.Errorf("delete attributes: %w", err)
		}
	}
	if len(want) == 0 {
		return true, nil
	}
	if err := l.o.Writer.SaveTelemetry(ctx, d.Tenant, d.ID.Entity(), names.progress(p, at, l.o.Now().UnixMilli()), 0); err != nil {
		return false, fmt.Errorf("save telemetry: %w", err)
	}
	if err := l.o.Writer.SaveAttributes(ctx, d.Tenant, d.ID.Entity(), storage.Shared, want); err != nil {
		return false, fmt.Errorf("save attributes: %w", err)
	}
	l.o.Metrics.announced.Inc()
	return true, nil
}

// stale are the keys that are there and no longer wanted.
func stale(have []storage.Entry, want []values.KeyValue) (keys []string) {
	for _, h := range have {
		if !slices.ContainsFunc(want, func(w values.KeyValue) bool { return w.Key == h.Key }) {
			keys = append(keys, h.Key)
		}
	}
	return keys
}

// matches reports whether all that is there is as wanted.
func matches(have []storage.Entry, want []values.KeyValue) bool {
	for _, h := range have {
		if !slices.Contains(want, h.KeyValue) {
			return false
		}
	}
	return true
}

// names are what the keys of a type begin with (device-api §1.12).
type names string

func namesOf(t entity.PackageType) names {
	if t == entity.Software {
		return "sw_"
	}
	return "fw_"
}

// all are the shared attributes that tell of a package.
func (n names) all() []string {
	keys := []string{"title", "version", "tag", "size", "checksum", "checksum_algorithm", "url"}
	for i := range keys {
		keys[i] = string(n) + keys[i]
	}
	return keys
}

// attributes tell a device of its package.
func (n names) attributes(p entity.Package) []values.KeyValue {
	kvs := n.texts("title", p.Title, "version", p.Version, "tag", p.Tag, "url", p.URL)
	if p.Data.Here() {
		kvs = append(kvs, values.KeyValue{Key: string(n) + "size", Value: values.OfLong(p.Data.Size)})
		kvs = append(kvs, n.texts("checksum", p.Data.Checksum, "checksum_algorithm", p.Data.ChecksumAlgorithm)...)
	}
	return kvs
}

// texts are keys and texts in turn, without those that are empty.
func (n names) texts(pairs ...string) (kvs []values.KeyValue) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			kvs = append(kvs, values.KeyValue{Key: string(n) + pairs[i], Value: values.OfString(pairs[i+1])})
		}
	}
	return kvs
}

// progress is the time series that tells people how far an update is: asked for at (ms), begun now.
func (n names) progress(p entity.Package, at, now int64) []telemetry.Timed {
	target := ("target_" + n).texts("title", p.Title, "version", p.Version, "tag", p.Tag)
	target = append(target, values.KeyValue{Key: "target_" + string(n) + "ts", Value: values.OfLong(at)})
	return []telemetry.Timed{
		{Time: at, Values: append(target, n.texts("state", "QUEUED")...)},
		{Time: max(now, at+1), Values: n.texts("state", "INITIATED")},
	}
}
