package relation

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
)

// FuzzKey reads what a damaged store may hold: an error at most; what is read is what was written.
func FuzzKey(f *testing.F) {
	f.Add([]byte{})
	f.Add(rowKey(Common, "Contains", ident.EntityID{Type: ident.Device, ID: ident.ID{0, 1, 0}}))
	f.Fuzz(func(t *testing.T, key []byte) {
		group, kind, other, err := readKey(key)
		if err == nil && !bytes.Equal(rowKey(group, kind, other), key) {
			t.Errorf("%x is read as %q, %q, %v", key, group, kind, other)
		}
	})
}

// FuzzRelation reads what people send.
func FuzzRelation(f *testing.F) {
	f.Add([]byte(`{"from":{"entityType":"ASSET","id":"13814000-1dd2-11b2-8080-808080808080"},"to":null,"type":"t","typeGroup":"X"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var r Relation
		if json.Unmarshal(text, &r) != nil {
			return
		}
		if err := r.complete(); err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("%s: %v", text, err)
			}
			return
		}
		if _, err := json.Marshal(r); err != nil {
			t.Errorf("%s cannot be shown: %v", text, err)
		}
	})
}
