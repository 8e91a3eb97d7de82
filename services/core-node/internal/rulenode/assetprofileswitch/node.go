// Package assetprofileswitch sends messages along the relation that is the name of their asset's profile.
package assetprofileswitch

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
		Class:           "org.thingsboard.rule.engine.filter.TbAssetTypeSwitchNode",
		Name:            "asset profile switch",
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
	if in.Originator.Type != ident.Asset {
		return fmt.Errorf("unsupported originator type: %s", in.Originator.Type)
	}
	asset, err := n.entities.Assets.Get(ctx, n.tenant, in.Originator.ID)
	if err != nil {
		return err
	}
	profile, err := n.entities.AssetProfiles.Get(ctx, n.tenant, asset.Profile)
	if err != nil {
		return err
	}
	turn.Emit(rule.Relation(profile.Name), in)
	return nil
}
