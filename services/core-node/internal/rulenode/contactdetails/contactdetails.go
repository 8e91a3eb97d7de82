// Package contactdetails is what the nodes share that put a customer's, or the tenant's, address into messages.
package contactdetails

import (
	"context"
	"fmt"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/object"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/part"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/subject"
)

// Config is these nodes' configuration.
type Config struct {
	Details []string  `json:"detailsList"`
	FetchTo part.Part `json:"fetchTo"`
}

// Default is the default configuration; messages fail until details are chosen.
const Default = `{"detailsList":[],"fetchTo":"DATA"}`

// Schema is the JSON schema of Config.
const Schema = `{"type":"object","required":["detailsList"],"properties":{
"detailsList":{"type":"array","items":{"enum":["ID","TITLE","COUNTRY","CITY","STATE","ZIP","ADDRESS","ADDRESS2","PHONE","EMAIL","ADDITIONAL_INFO"]}},
"fetchTo":{"enum":["DATA","METADATA"]}}}`

// Upgrade brings a configuration of version 0 to what Config reads.
func Upgrade(config map[string]any) {
	if config["fetchTo"] == nil {
		config["fetchTo"] = string(part.FromFlag(config["addToMetadata"]))
	}
	delete(config, "addToMetadata")
}

// paths are where the fields of details are in an entity's view, and their names in the message.
func paths() map[string][2]string {
	return map[string][2]string{
		"ID": {"id.id", "id"}, "TITLE": {"title", "title"}, "COUNTRY": {"country", "country"}, "CITY": {"city", "city"}, "STATE": {"state", "state"},
		"ZIP": {"zip", "zip"}, "ADDRESS": {"address", "address"}, "ADDRESS2": {"address2", "address2"}, "PHONE": {"phone", "phone"},
		"EMAIL": {"email", "email"}, "ADDITIONAL_INFO": {"additionalInfo.description", "additionalInfo"},
	}
}

// Details is a Config that was checked. Safe for concurrent use.
type Details struct {
	fields   [][2]string
	to       part.Part
	services rule.Services
}

// Compile checks c. Errors name the field.
func (c Config) Compile(s rule.Services) (*Details, error) {
	if err := c.FetchTo.Check("fetchTo"); err != nil {
		return nil, err
	}
	if len(c.Details) == 0 {
		return nil, fmt.Errorf("detailsList: %w: at least one detail is to be chosen", rule.ErrNotStartable)
	}
	d := &Details{to: c.FetchTo, services: s}
	for i, name := range c.Details {
		field, ok := paths()[name]
		if !ok {
			return nil, fmt.Errorf("detailsList[%d]: %q is unknown", i, name)
		}
		d.fields = append(d.fields, field)
	}
	return d, nil
}

// Enrich returns in with the details of e under names that begin with prefix; those it has not are left out.
func (d *Details) Enrich(ctx context.Context, in *rule.Message, e ident.EntityID, prefix string) (*rule.Message, error) {
	edit, err := d.to.Edit(in)
	if err != nil {
		return nil, err
	}
	view, err := subject.View(ctx, d.services, e)
	if err != nil {
		return nil, err
	}
	for _, field := range d.fields {
		if value, ok := subject.Field(view, field[0]); ok && value.Kind() != 'n' {
			edit.SetText(prefix+field[1], object.Plain(value))
		}
	}
	return edit.Message(), nil
}
