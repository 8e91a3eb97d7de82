package system

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
)

// ChainCase is a case of `sluice chain test`, as far as a scenario can have it happen.
type ChainCase struct {
	Chain string
	Given []struct {
		Type, Name string
		Attributes map[string]json.RawMessage
	}
	Relations []struct{ From, To string }
	Messages  []struct {
		Type, Device, Tick string
		Body               json.RawMessage
	}
	Expect []struct{ Node, Relation string }
	Stored map[string]struct {
		Telemetry  map[string]any
		Attributes map[string]map[string]any
		Alarms     []struct{ Type, Severity, Status string }
	}
}

// chainFolder holds exported chains, and cases of them.
const chainFolder = "chains"

// ReadChainCase reads a case and its chain, in which each key of replace gives way to its value.
func ReadChainCase(name string, replace map[string]string) (c ChainCase, chain []byte, err error) {
	text, err := os.ReadFile(filepath.Join(chainFolder, name+".case.json"))
	if err != nil {
		return c, nil, err
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, nil, fmt.Errorf("read case %s: %w", name, err)
	}
	if c.Chain == "" {
		c.Chain = name + ".chain.json"
	}
	chain, err = os.ReadFile(filepath.Join(chainFolder, c.Chain))
	for old, text := range replace {
		chain = bytes.ReplaceAll(chain, []byte(old), []byte(text))
	}
	return c, chain, err
}

// UseChain imports an exported chain as people do, a single one or a bundle, and makes it the tenant's root.
func (t *Tenant) UseChain(ctx context.Context, file []byte) error {
	var kind struct {
		RuleChain  map[string]any          `json:"ruleChain"`
		RuleChains []struct{ Name string } `json:"ruleChains"`
		Metadata   json.RawMessage         `json:"metadata"`
	}
	if err := json.Unmarshal(file, &kind); err != nil {
		return err
	}
	root, err := "", error(nil)
	if kind.RuleChain != nil {
		root, err = t.importChain(ctx, kind.RuleChain, kind.Metadata)
	} else {
		root, err = t.importBundle(ctx, file)
	}
	if err != nil {
		return err
	}
	return t.call(ctx, http.MethodPost, "/api/ruleChain/"+root+"/root", nil, nil)
}

// importChain makes the chain, then gives it its nodes.
func (t *Tenant) importChain(ctx context.Context, chain map[string]any, metadata json.RawMessage) (string, error) {
	var made struct{ ID ref }
	if err := t.call(ctx, http.MethodPost, "/api/ruleChain", chain, &made); err != nil {
		return "", err
	}
	var graph map[string]any
	if err := json.Unmarshal(metadata, &graph); err != nil {
		return "", err
	}
	graph["ruleChainId"] = made.ID
	delete(graph, "version") // of where it was exported
	return made.ID.ID, t.call(ctx, http.MethodPost, "/api/ruleChain/metadata", graph, nil)
}

// importBundle returns the id of the bundle's first chain, which is the root in ours.
func (t *Tenant) importBundle(ctx context.Context, file []byte) (string, error) {
	var outcomes []struct {
		RuleChainID *ref `json:"ruleChainId"`
		Error       *string
	}
	if err := t.call(ctx, http.MethodPost, "/api/ruleChains/import", json.RawMessage(file), &outcomes); err != nil {
		return "", err
	}
	for _, o := range outcomes {
		if o.Error != nil {
			return "", fmt.Errorf("import a bundle: %s", *o.Error)
		}
	}
	if len(outcomes) == 0 {
		return "", fmt.Errorf("import a bundle: nothing was in it")
	}
	return outcomes[0].RuleChainID.ID, nil
}

// NewAsset makes an asset and returns its id.
func (t *Tenant) NewAsset(ctx context.Context, name string) (string, error) {
	var made struct{ ID ref }
	err := t.call(ctx, http.MethodPost, "/api/asset", map[string]any{"name": name, "type": "default"}, &made)
	return made.ID.ID, err
}

// Contain relates one entity to another.
func (t *Tenant) Contain(ctx context.Context, from, to ref) error {
	return t.call(ctx, http.MethodPost, "/api/relation", map[string]any{"from": from, "to": to, "type": "Contains", "typeGroup": "COMMON"}, nil)
}

// Holds returns nil when an entity has these latest values.
func (t *Tenant) Holds(ctx context.Context, e ref, want map[string]any) error {
	var got map[string][]struct{ Value any }
	path := fmt.Sprintf("/api/plugins/telemetry/%s/%s/values/timeseries?useStrictDataTypes=true", e.EntityType, e.ID)
	if err := t.call(ctx, http.MethodGet, path, nil, &got); err != nil {
		return err
	}
	for key, value := range want {
		if len(got[key]) != 1 || !reflect.DeepEqual(got[key][0].Value, value) {
			return fmt.Errorf("%s of a %s: want %v, got %v", key, e.EntityType, value, got[key])
		}
	}
	return nil
}

// HoldsAttributes returns nil when an entity has these attributes.
func (t *Tenant) HoldsAttributes(ctx context.Context, e ref, scope string, want map[string]any) error {
	var got []struct {
		Key   string
		Value any
	}
	path := fmt.Sprintf("/api/plugins/telemetry/%s/%s/values/attributes/%s", e.EntityType, e.ID, scope)
	if err := t.call(ctx, http.MethodGet, path, nil, &got); err != nil {
		return err
	}
	all := map[string]any{}
	for _, a := range got {
		all[a.Key] = a.Value
	}
	for key, value := range want {
		if !reflect.DeepEqual(all[key], value) {
			return fmt.Errorf("attribute %s of a %s: want %v, got %v", key, e.EntityType, value, all[key])
		}
	}
	return nil
}

// ShownAlarm is an alarm as people see it.
type ShownAlarm struct{ Type, Severity, Status string }

// Alarms returns an entity's alarms, the oldest first.
func (t *Tenant) Alarms(ctx context.Context, e ref) ([]ShownAlarm, error) {
	var page struct{ Data []ShownAlarm }
	path := fmt.Sprintf("/api/alarm/%s/%s?pageSize=100&page=0&sortProperty=createdTime&sortOrder=ASC", e.EntityType, e.ID)
	return page.Data, t.call(ctx, http.MethodGet, path, nil, &page)
}

// Steps are the ways an entity's latest messages took out of nodes.
func (t *Tenant) Steps(ctx context.Context, e ref) (map[[2]string]int, error) {
	var traces []Trace
	if err := t.call(ctx, http.MethodGet, "/api/trace/"+e.EntityType+"/"+e.ID, nil, &traces); err != nil {
		return nil, err
	}
	steps := map[[2]string]int{}
	for _, trace := range traces {
		for _, hop := range trace.Path {
			steps[[2]string{hop.Node, hop.Relation}]++
		}
	}
	return steps, nil
}
