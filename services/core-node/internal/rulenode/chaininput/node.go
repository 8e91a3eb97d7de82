// Package chaininput sends messages into another rule chain.
package chaininput

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","properties":{
"ruleChainId":{"type":["string","null"],"description":"The chain that is entered."},
"forwardMsgToDefaultRuleChain":{"type":"boolean","description":"Enter the chain of the originator's profile instead, if it has one."}}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:           "org.thingsboard.rule.engine.flow.TbRuleChainInputNode",
		Name:            "rule chain",
		Category:        rule.Flow,
		Doc:             doc,
		CustomRelations: true,
		Version:         1,
		Default:         json.RawMessage(`{"ruleChainId":null,"forwardMsgToDefaultRuleChain":false}`),
		Schema:          json.RawMessage(schema),
		Waits:           rule.ForStore,
		Upgrade:         upgrade,
		New:             newNode,
	}
}

func upgrade(_ int, config map[string]any, _ *rule.NodeEntry) {
	if _, ok := config["forwardMsgToDefaultRuleChain"]; !ok {
		config["forwardMsgToDefaultRuleChain"] = false
	}
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c struct {
		RuleChainID *string `json:"ruleChainId"`
		Forward     bool    `json:"forwardMsgToDefaultRuleChain"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	var chain ident.ID
	if c.RuleChainID != nil && *c.RuleChainID != "" {
		var err error
		if chain, err = ident.Parse(*c.RuleChainID); err != nil {
			return nil, fmt.Errorf("ruleChainId: %w", err)
		}
	}
	if c.Forward {
		return forward{fixed(chain), s.Entities}, nil
	}
	if chain.IsZero() {
		return nil, fmt.Errorf("ruleChainId: %w: %w", rule.ErrNotStartable, errNone)
	}
	return fixed(chain), nil
}

var errNone = errors.New("no rule chain is chosen")

// fixed is the chain that is entered.
type fixed ident.ID

// Waits implements rule.Waiter.
func (fixed) Waits() rule.Waits { return rule.ForNothing }

func (n fixed) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	if ident.ID(n).IsZero() {
		return errNone
	}
	turn.Enter(ident.ID(n), in)
	return nil
}

// forward enters the chain of the originator's profile; fixed where there is none.
type forward struct {
	fixed    fixed
	entities *entity.Registry
}

func (n forward) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	chain, err := n.profileChain(ctx, in)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return fmt.Errorf("find the originator's rule chain: %w", err)
	}
	if chain.IsZero() {
		return n.fixed.Process(ctx, in, turn)
	}
	turn.Enter(chain, in)
	return nil
}

// profileChain is zero if the originator has no profile, or that no chain.
func (n forward) profileChain(ctx context.Context, in *rule.Message) (ident.ID, error) {
	switch in.Originator.Type {
	case ident.Device:
		id := in.Profile
		if id.IsZero() {
			device, err := n.entities.Devices.Device(ctx, in.Tenant, ident.DeviceID{ID: in.Originator.ID})
			if err != nil {
				return ident.ID{}, err
			}
			id = device.Profile
		}
		profile, err := n.entities.DeviceProfiles.Get(ctx, in.Tenant, id)
		return profile.DefaultRuleChain, err
	case ident.Asset:
		asset, err := n.entities.Assets.Get(ctx, in.Tenant, in.Originator.ID)
		if err != nil {
			return ident.ID{}, err
		}
		profile, err := n.entities.AssetProfiles.Get(ctx, in.Tenant, asset.Profile)
		return profile.DefaultRuleChain, err
	}
	return ident.ID{}, nil
}
