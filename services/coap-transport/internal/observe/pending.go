package observe

import (
	"slices"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/transport"
)

// pending is what is to be told to a device and was not yet: of attributes the latest values alone.
type pending struct {
	updated  []telemetry.KeyValue
	deleted  []string
	requests []transport.RPCRequest
}

// change merges a change of attributes in, for at most limit keys; false: some of it was left out.
func (p *pending) change(updated []telemetry.KeyValue, deleted []string, limit int) (whole bool) {
	whole = true
	for _, kv := range updated {
		p.deleted = slices.DeleteFunc(p.deleted, func(key string) bool { return key == kv.Key })
		if i := slices.IndexFunc(p.updated, func(old telemetry.KeyValue) bool { return old.Key == kv.Key }); i >= 0 {
			p.updated[i] = kv
		} else if len(p.updated) < limit {
			p.updated = append(p.updated, kv)
		} else {
			whole = false
		}
	}
	for _, key := range deleted {
		p.updated = slices.DeleteFunc(p.updated, func(kv telemetry.KeyValue) bool { return kv.Key == key })
		switch {
		case slices.Contains(p.deleted, key):
		case len(p.deleted) < limit:
			p.deleted = append(p.deleted, key)
		default:
			whole = false
		}
	}
	return whole
}
