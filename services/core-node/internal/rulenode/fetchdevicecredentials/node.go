// Package fetchdevicecredentials puts a device's credentials into messages.
package fetchdevicecredentials

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/object"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/part"
)

//go:embed doc.md
var doc string

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.metadata.TbFetchDeviceCredentialsNode",
		Name:      "fetch device credentials",
		Category:  rule.Enrichment,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   1,
		Default:   json.RawMessage(`{"fetchTo":"METADATA"}`),
		Schema:    json.RawMessage(`{"type":"object","required":["fetchTo"],"properties":{"fetchTo":{"enum":["DATA","METADATA"]}}}`),
		Waits:     rule.ForStore,
		Upgrade:   upgrade,
		New:       newNode,
	}
}

func upgrade(_ int, config map[string]any, _ *rule.NodeEntry) {
	if config["fetchTo"] == nil {
		config["fetchTo"] = string(part.FromFlag(config["fetchToMetadata"]))
	}
	delete(config, "fetchToMetadata")
}

type node struct {
	To       part.Part `json:"fetchTo"`
	services rule.Services
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	n := &node{services: s}
	if err := json.Unmarshal(raw, n); err != nil {
		return nil, err
	}
	return n, n.To.Check("fetchTo")
}

func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	if in.Originator.Type != ident.Device {
		return fmt.Errorf("a %s has no credentials", in.Originator.Type)
	}
	edit, err := n.To.Edit(in)
	if err != nil {
		return err
	}
	c, err := n.services.Entities.Devices.Credentials(ctx, n.services.Tenant, ident.DeviceID{ID: in.Originator.ID})
	if err != nil {
		return fmt.Errorf("find the device's credentials: %w", err)
	}
	edit.SetText("credentialsType", string(c.Type))
	if c.Type == entity.AccessToken {
		edit.Set("credentials", object.Quote(c.CredentialsID))
	} else {
		edit.Set("credentials", []byte(c.CredentialsValue))
	}
	turn.Emit(rule.Success, edit.Message())
	return nil
}
