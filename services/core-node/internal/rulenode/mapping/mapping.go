// Package mapping is what the nodes share that put data of another entity into a message: which data, under which names,
// and into which part of the message.
package mapping

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/history"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/object"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/part"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/pattern"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/subject"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// What can be fetched.
const (
	Attributes = "ATTRIBUTES"
	Latest     = "LATEST_TELEMETRY"
	Fields     = "FIELDS"
)

// Config is these nodes' configuration.
type Config struct {
	DataMapping map[string]string `json:"dataMapping"`
	DataToFetch string            `json:"dataToFetch"`
	FetchTo     part.Part         `json:"fetchTo"`
}

// Schema is the JSON schema of Config's fields, to be put among others.
const Schema = `"dataMapping":{"type":"object","minProperties":1,"additionalProperties":{"type":"string"},"description":"Names in the message by names of what is fetched; both are patterns."},
"dataToFetch":{"enum":["ATTRIBUTES","LATEST_TELEMETRY","FIELDS"]},
"fetchTo":{"enum":["DATA","METADATA"]}`

// Upgrade brings a configuration of version 0 to what Config reads.
func Upgrade(config map[string]any) {
	if old, ok := config["attrMapping"]; ok && config["dataMapping"] == nil {
		config["dataMapping"] = old
	}
	if config["dataToFetch"] == nil {
		config["dataToFetch"] = Attributes
		if telemetry := config["telemetry"]; telemetry == true || telemetry == "true" {
			config["dataToFetch"] = Latest
		}
	}
	if config["fetchTo"] == nil {
		config["fetchTo"] = string(part.Metadata)
	}
	delete(config, "attrMapping")
	delete(config, "telemetry")
}

// Mapping is a Config that was checked. Safe for concurrent use.
type Mapping struct {
	pairs    []pair
	what     string
	to       part.Part
	services rule.Services
	// KeepNull writes fields that are null as the text null; otherwise they are left out.
	KeepNull bool
}

type pair struct{ from, to pattern.Pattern }

// Compile checks c. Only what is named in allowed may be fetched. Errors name the field.
func (c Config) Compile(s rule.Services, allowed ...string) (*Mapping, error) {
	if !slices.Contains(allowed, c.DataToFetch) {
		return nil, fmt.Errorf("dataToFetch: %q is none of %v", c.DataToFetch, allowed)
	}
	if err := c.FetchTo.Check("fetchTo"); err != nil {
		return nil, err
	}
	if len(c.DataMapping) == 0 {
		return nil, errors.New("dataMapping: at least one pair is needed")
	}
	m := &Mapping{what: c.DataToFetch, to: c.FetchTo, services: s}
	for _, from := range slices.Sorted(maps.Keys(c.DataMapping)) {
		m.pairs = append(m.pairs, pair{pattern.Compile(from), pattern.Compile(c.DataMapping[from])})
	}
	return m, nil
}

// Enrich returns in with what e has of what is mapped; what it has not is left out.
func (m *Mapping) Enrich(ctx context.Context, in *rule.Message, e ident.EntityID) (*rule.Message, error) {
	edit, err := m.to.Edit(in)
	if err != nil {
		return nil, err
	}
	names := make(map[string][]string, len(m.pairs))
	for _, p := range m.pairs {
		from := p.from.Of(in)
		names[from] = append(names[from], p.to.Of(in))
	}
	if m.what == Fields {
		return m.fields(ctx, edit, names, e)
	}
	entries, err := m.entries(ctx, slices.Sorted(maps.Keys(names)), e)
	if err != nil {
		return nil, fmt.Errorf("read values of %s: %w", e, err)
	}
	for _, entry := range entries {
		for _, to := range names[entry.Key] {
			Put(edit, m.to, to, entry.Value)
		}
	}
	return edit.Message(), nil
}

func (m *Mapping) entries(ctx context.Context, keys []string, e ident.EntityID) ([]storage.Entry, error) {
	if m.what == Latest {
		return m.services.Values.Latest(ctx, e, keys)
	}
	return m.services.Values.Attributes(ctx, e, storage.Server, keys)
}

func (m *Mapping) fields(ctx context.Context, edit *part.Edit, names map[string][]string, e ident.EntityID) (*rule.Message, error) {
	view, err := subject.View(ctx, m.services, e)
	if err != nil {
		return nil, err
	}
	for _, from := range slices.Sorted(maps.Keys(names)) {
		value, ok := subject.Field(view, from)
		if !ok || value.Kind() == 'n' && !m.KeepNull {
			continue
		}
		for _, to := range names[from] {
			edit.SetText(to, object.Plain(value))
		}
	}
	return edit.Message(), nil
}

// Put writes a value as messages carry it: of its own type into a body, as text into metadata.
func Put(edit *part.Edit, to part.Part, key string, v values.Value) {
	if to == part.Metadata {
		edit.SetText(key, history.Text(v))
		return
	}
	edit.Set(key, history.AppendStrict(nil, v))
}
