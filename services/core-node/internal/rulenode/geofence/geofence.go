// Package geofence finds whether the position a message tells is within an area.
package geofence

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/object"
)

// Config is how configurations say it.
type Config struct {
	Latitude     string  `json:"latitudeKeyName"`
	Longitude    string  `json:"longitudeKeyName"`
	Type         string  `json:"perimeterType"`
	FromMetadata bool    `json:"fetchPerimeterInfoFromMessageMetadata"`
	Key          string  `json:"perimeterKeyName"`
	Polygons     string  `json:"polygonsDefinition"`
	CenterLat    float64 `json:"centerLatitude"`
	CenterLon    float64 `json:"centerLongitude"`
	Range        float64 `json:"range"`
	Unit         string  `json:"rangeUnit"`
}

// Default is the default configuration's fields, to be put among others.
const Default = `"latitudeKeyName":"latitude","longitudeKeyName":"longitude","perimeterType":"POLYGON","fetchPerimeterInfoFromMessageMetadata":true,` +
	`"perimeterKeyName":"ss_perimeter","polygonsDefinition":null,"centerLatitude":null,"centerLongitude":null,"range":null,"rangeUnit":null`

// Schema is the JSON schema of Config's fields, to be put among others.
const Schema = `"latitudeKeyName":{"type":"string"},"longitudeKeyName":{"type":"string"},
"perimeterType":{"enum":["POLYGON","CIRCLE"]},
"fetchPerimeterInfoFromMessageMetadata":{"type":"boolean"},
"perimeterKeyName":{"type":["string","null"],"description":"The metadata with the area; empty for the keys of old versions."},
"polygonsDefinition":{"type":["string","null"],"description":"Points [latitude, longitude], or a list of such polygons, as JSON text."},
"centerLatitude":{"type":["number","null"]},"centerLongitude":{"type":["number","null"]},"range":{"type":["number","null"]},
"rangeUnit":{"enum":["METER","KILOMETER","FOOT","MILE","NAUTICAL_MILE",null]}`

// Fence is a Config that was checked. Safe for concurrent use.
type Fence struct {
	config Config
	fixed  area // unless it comes with the message
}

// area is a part of the earth.
type area interface{ holds(at point) bool }

type point struct{ lat, lon float64 }

// Compile checks c. Errors name the field.
func (c Config) Compile() (*Fence, error) {
	f := &Fence{config: c}
	switch {
	case c.Latitude == "":
		return nil, errors.New("latitudeKeyName: a key is needed")
	case c.Longitude == "":
		return nil, errors.New("longitudeKeyName: a key is needed")
	case c.Type != "POLYGON" && c.Type != "CIRCLE":
		return nil, fmt.Errorf("perimeterType: %q is none of POLYGON, CIRCLE", c.Type)
	case c.FromMetadata:
		return f, nil
	}
	var err error
	if c.Type == "POLYGON" {
		if f.fixed, err = readPolygons(c.Polygons); err != nil {
			return nil, fmt.Errorf("polygonsDefinition: %w", err)
		}
		return f, nil
	}
	if f.fixed, err = newCircle(c.CenterLat, c.CenterLon, c.Range, c.Unit); err != nil {
		return nil, fmt.Errorf("rangeUnit: %w", err)
	}
	return f, nil
}

// Holds reports whether the position in m is within the area.
func (f *Fence) Holds(m *rule.Message) (bool, error) {
	at, err := f.position(m)
	if err != nil {
		return false, err
	}
	within := f.fixed
	if within == nil {
		if within, err = f.area(m.Metadata); err != nil {
			return false, err
		}
	}
	return within.holds(at), nil
}

func (f *Fence) position(m *rule.Message) (p point, err error) {
	body, notObject := object.Read(m.Body)
	for key, into := range map[string]*float64{f.config.Latitude: &p.lat, f.config.Longitude: &p.lon} {
		text, ok := "", false
		if notObject == nil {
			if value, there := body.Get(key); there {
				text, ok = object.Plain(value), true
			}
		}
		if !ok {
			text, ok = m.Metadata.Get(key)
		}
		if !ok {
			return p, fmt.Errorf("neither the body nor the metadata has %q", key)
		}
		if *into, err = strconv.ParseFloat(text, 64); err != nil || math.IsNaN(*into) || math.IsInf(*into, 0) {
			return p, fmt.Errorf("%s: %q is no coordinate", key, text)
		}
	}
	return p, nil
}

// area reads what the message brings.
func (f *Fence) area(m rule.Metadata) (area, error) {
	if f.config.Key == "" {
		return f.legacy(m)
	}
	text, ok := m.Get(f.config.Key)
	if !ok {
		return nil, fmt.Errorf("the metadata has no %q", f.config.Key)
	}
	if f.config.Type == "POLYGON" {
		return readPolygons(text)
	}
	var c struct {
		Latitude   *float64 `json:"latitude"`
		Longitude  *float64 `json:"longitude"`
		Radius     *float64 `json:"radius"`
		RadiusUnit string   `json:"radiusUnit"`
	}
	if err := json.Unmarshal([]byte(text), &c); err != nil || c.Latitude == nil || c.Longitude == nil || c.Radius == nil {
		return nil, fmt.Errorf("metadata %s: %q is no circle", f.config.Key, text)
	}
	return newCircle(*c.Latitude, *c.Longitude, *c.Radius, c.RadiusUnit)
}

// legacy reads the keys of old versions.
func (f *Fence) legacy(m rule.Metadata) (area, error) {
	if f.config.Type == "POLYGON" {
		text, ok := m.Get("perimeter")
		if !ok {
			return nil, errors.New("the metadata has no \"perimeter\"")
		}
		return readPolygons(text)
	}
	var numbers [3]float64
	for i, key := range [...]string{"centerLatitude", "centerLongitude", "range"} {
		text, _ := m.Get(key)
		var err error
		if numbers[i], err = strconv.ParseFloat(text, 64); err != nil {
			return nil, fmt.Errorf("metadata %s: %q is no number", key, text)
		}
	}
	unit, _ := m.Get("rangeUnit")
	return newCircle(numbers[0], numbers[1], numbers[2], unit)
}
