// Package deviceprofileswitch sends messages along the relation that is the name of their device's profile.
package deviceprofileswitch

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

//go:embed doc.md
var doc string

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:           "org.thingsboard.rule.engine.filter.TbDeviceTypeSwitchNode",
		Name:            "device profile switch",
		Category:        rule.Filter,
		Doc:             doc,
		Relations:       []rule.Relation{"default"},
		CustomRelations: true,
		Default:         json.RawMessage(`{}`),
		Schema:          json.RawMessage(`{"type":"object"}`),
		Waits:           rule.ForStore,
		New: func(_ json.RawMessage, s rule.Services) (rule.Node, error) {
			return node{s.Entities, s.Tenant}, nil
		},
	}
}

type node struct {
	entities *entity.Registry
	tenant   ident.TenantID
}

func (n node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	if in.Originator.Type != ident.Device {
		return fmt.Errorf("unsupported originator type: %s", in.Originator.Type)
	}
	id := in.Profile
	if id.IsZero() {
		device, err := n.entities.Devices.Device(ctx, n.tenant, ident.DeviceID{ID: in.Originator.ID})
		if err != nil {
			return err
		}
		id = device.Profile
	}
	profile, err := n.entities.DeviceProfiles.Get(ctx, n.tenant, id)
	if err != nil {
		return err
	}
	turn.Emit(rule.Relation(profile.Name), in)
	return nil
}
