package live

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// wire is u as it travels, and about how large that is.
func (u Update) wire() (*sluicepb.LiveUpdate, int) {
	bytes := 64
	for i := range u.Values {
		bytes += len(u.Values[i].Key) + len(u.Values[i].Value.Text()) + 16
	}
	return &sluicepb.LiveUpdate{
		Entity: wireEntity(u.Entity), Scope: sluicepb.ValueScope(u.Scope),
		TimeMs: u.Time, Values: telemetry.ToProto(u.Values), Deleted: u.Deleted,
	}, bytes
}

func fromWire(u *sluicepb.LiveUpdate) (Update, error) {
	e, err := ReadEntity(u.GetEntity())
	if err != nil {
		return Update{}, err
	}
	return Update{
		Entity: e, Scope: storage.Scope(u.GetScope()), Time: u.GetTimeMs(),
		Values: telemetry.FromProto(u.GetValues()), Deleted: u.GetDeleted(),
	}, nil
}

func wireEntity(e ident.EntityID) *sluicepb.EntityId {
	return &sluicepb.EntityId{Type: e.Type, Id: e.ID[:]}
}

// ReadEntity reads the id of an entity that is watched.
func ReadEntity(wire *sluicepb.EntityId) (ident.EntityID, error) {
	id, err := ident.FromBytes(wire.GetId())
	if err != nil || id.IsZero() {
		return ident.EntityID{}, fmt.Errorf("read an entity's id of %d bytes", len(wire.GetId()))
	}
	return ident.EntityID{Type: wire.GetType(), ID: id}, nil
}

func unmarshal(data []byte, m *sluicepb.LiveUpdates) error {
	if err := proto.Unmarshal(data, m); err != nil {
		return fmt.Errorf("read live updates: %w", err)
	}
	return nil
}
