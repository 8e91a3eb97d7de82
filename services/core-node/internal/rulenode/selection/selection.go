// Package selection is what the nodes share that put chosen attributes and latest values of an entity into a message.
package selection

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/history"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/mapping"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/part"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/pattern"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// Config is these nodes' configuration.
type Config struct {
	Client   []string  `json:"clientAttributeNames"`
	Shared   []string  `json:"sharedAttributeNames"`
	Server   []string  `json:"serverAttributeNames"`
	Latest   []string  `json:"latestTsKeyNames"`
	MustHave bool      `json:"tellFailureIfAbsent"`
	WithTs   bool      `json:"getLatestValueWithTs"`
	FetchTo  part.Part `json:"fetchTo"`
}

// Default is the default configuration's fields, to be put among others.
const Default = `"clientAttributeNames":[],"sharedAttributeNames":[],"serverAttributeNames":[],"latestTsKeyNames":[],` +
	`"tellFailureIfAbsent":true,"getLatestValueWithTs":false,"fetchTo":"METADATA"`

// Schema is the JSON schema of Config's fields, to be put among others.
const Schema = `"clientAttributeNames":{"type":"array","items":{"type":"string"},"description":"Patterns."},
"sharedAttributeNames":{"type":"array","items":{"type":"string"},"description":"Patterns."},
"serverAttributeNames":{"type":"array","items":{"type":"string"},"description":"Patterns."},
"latestTsKeyNames":{"type":"array","items":{"type":"string"},"description":"Patterns."},
"tellFailureIfAbsent":{"type":"boolean"},
"getLatestValueWithTs":{"type":"boolean","description":"Latest values with their times."},
"fetchTo":{"enum":["DATA","METADATA"]}`

// Upgrade brings a configuration of version 0 to what Config reads.
func Upgrade(config map[string]any) {
	if config["fetchTo"] == nil {
		config["fetchTo"] = string(part.Metadata)
		if into := config["fetchToData"]; into == true || into == "true" {
			config["fetchTo"] = string(part.Data)
		}
	}
	delete(config, "fetchToData")
}

// Selection is a Config that was checked. Safe for concurrent use.
type Selection struct {
	config Config
	from   [4]source
	values rule.Values
}

// source is one scope and the names chosen of it.
type source struct {
	scope  storage.Scope
	prefix string // of the names in the message
	names  []pattern.Pattern
}

// Compile checks c. Errors name the field.
func (c Config) Compile(s rule.Services) (*Selection, error) {
	if err := c.FetchTo.Check("fetchTo"); err != nil {
		return nil, err
	}
	return &Selection{config: c, values: s.Values, from: [...]source{
		{storage.Client, "cs_", pattern.CompileAll(c.Client)},
		{storage.Shared, "shared_", pattern.CompileAll(c.Shared)},
		{storage.Server, "ss_", pattern.CompileAll(c.Server)},
		{storage.Timeseries, "", pattern.CompileAll(c.Latest)},
	}}, nil
}

// Emit sends in with what was chosen of e along Success; along Failure if something that must be there is not.
func (s *Selection) Emit(ctx context.Context, in *rule.Message, e ident.EntityID, turn *rule.Turn) error {
	edit, err := s.config.FetchTo.Edit(in)
	if err != nil {
		return err
	}
	var absent []string
	for _, from := range s.from {
		missing, err := s.put(ctx, edit, from, in, e)
		if err != nil {
			return fmt.Errorf("read values of %s: %w", e, err)
		}
		if len(missing) > 0 {
			absent = append(absent, from.label()+" "+strings.Join(missing, ", "))
		}
	}
	if len(absent) > 0 && s.config.MustHave {
		turn.Fail(edit.Message(), fmt.Errorf("%s has no %s", e, strings.Join(absent, "; no ")))
		return nil
	}
	turn.Emit(rule.Success, edit.Message())
	return nil
}

func (f source) label() string {
	if f.scope == storage.Timeseries {
		return "telemetry"
	}
	return telemetry.ScopeName(f.scope) + " attribute"
}

// put writes what there is, and returns the names of what there is not.
func (s *Selection) put(ctx context.Context, edit *part.Edit, from source, in *rule.Message, e ident.EntityID) (missing []string, err error) {
	var names []string
	for _, name := range from.names {
		if text := name.Of(in); text != "" {
			names = append(names, text)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	var entries []storage.Entry
	if from.scope == storage.Timeseries {
		entries, err = s.values.Latest(ctx, e, names)
	} else {
		entries, err = s.values.Attributes(ctx, e, from.scope, names)
	}
	if err != nil {
		return nil, err
	}
	there := make(map[string]storage.Entry, len(entries))
	for _, entry := range entries {
		there[entry.Key] = entry
	}
	for _, name := range names {
		entry, ok := there[name]
		if !ok {
			missing = append(missing, name)
			continue
		}
		if from.scope == storage.Timeseries && s.config.WithTs {
			edit.Set(name, s.timed(entry))
		} else {
			mapping.Put(edit, s.config.FetchTo, from.prefix+name, entry.Value)
		}
	}
	return missing, nil
}

func (s *Selection) timed(entry storage.Entry) jsontext.Value {
	point := storage.Point{Time: entry.Time, Value: entry.Value}
	if s.config.FetchTo == part.Metadata {
		return AppendBare(nil, point)
	}
	return fmt.Appendf(nil, `{"ts":%d,"value":%s}`, point.Time, history.AppendStrict(nil, point.Value))
}
