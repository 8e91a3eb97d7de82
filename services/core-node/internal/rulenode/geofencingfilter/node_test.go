package geofencingfilter

import (
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

const keys = `"latitudeKeyName":"lat","longitudeKeyName":"lon"`

func TestPositions(t *testing.T) {
	const square = `[[0,0],[0,10],[10,10],[10,0]]`
	for _, c := range []struct {
		name, config string
		metadata     map[string]string
		inside       string // positions "lat,lon"
		outside      string
	}{
		{"a polygon of the configuration", `{` + keys + `,"perimeterType":"POLYGON","polygonsDefinition":"` + square + `"}`, nil, "5,5 0.1,9.9", "-1,5 5,11 11,11"},
		{"a hole in it", `{` + keys + `,"perimeterType":"POLYGON","polygonsDefinition":"[` + square + `,[[4,4],[4,6],[6,6],[6,4]],[[20,20],[20,21],[21,20]]]"}`, nil, "2,2 20.2,20.2", "5,5 15,15"},
		{"one of the metadata", `{` + keys + `,"perimeterType":"POLYGON","fetchPerimeterInfoFromMessageMetadata":true,"perimeterKeyName":"p"}`, map[string]string{"p": square}, "5,5", "15,5"},
		{"one under the old key", `{` + keys + `,"perimeterType":"POLYGON","fetchPerimeterInfoFromMessageMetadata":true,"perimeterKeyName":""}`, map[string]string{"perimeter": square}, "5,5", "15,5"},
		{"a circle of the configuration", `{` + keys + `,"perimeterType":"CIRCLE","centerLatitude":50,"centerLongitude":30,"range":112,"rangeUnit":"KILOMETER"}`, nil, "51,30 50,31.5", "51.01,30 50,31.6"},
		{
			"one of the metadata", `{` + keys + `,"perimeterType":"CIRCLE","fetchPerimeterInfoFromMessageMetadata":true,"perimeterKeyName":"p"}`,
			map[string]string{"p": `{"latitude":50,"longitude":30,"radius":1000,"radiusUnit":"METER"}`},
			"50.0089,30", "50.0091,30",
		},
		{
			"one under the old keys", `{` + keys + `,"perimeterType":"CIRCLE","fetchPerimeterInfoFromMessageMetadata":true}`,
			map[string]string{"centerLatitude": "50", "centerLongitude": "30", "range": "1", "rangeUnit": "MILE"},
			"50.0144,30", "50.0146,30",
		},
		{"its edge is outside", `{` + keys + `,"perimeterType":"CIRCLE","centerLatitude":50,"centerLongitude":30,"range":0,"rangeUnit":"FOOT"}`, nil, "", "50,30"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := rulenodetest.New(t)
			node := b.Node(Kind(), c.config)
			for positions, want := range map[string]rule.Relation{c.inside: rule.True, c.outside: rule.False} {
				for _, position := range strings.Fields(positions) {
					lat, lon, _ := strings.Cut(position, ",")
					if got := b.Process(node, b.Message("X", `{"lat":`+lat+`,"lon":"`+lon+`"}`, c.metadata)).Relations(); len(got) != 1 || got[0] != want {
						t.Errorf("%s is %v, want %s", position, got, want)
					}
				}
			}
		})
	}
}

func TestThePositionMayBeInTheMetadata(t *testing.T) {
	b := rulenodetest.New(t)
	node := b.Node(Kind(), `{`+keys+`,"perimeterType":"POLYGON","polygonsDefinition":"[[0,0],[0,10],[10,10],[10,0]]"}`)
	in := b.Message("X", `[]`, map[string]string{"lat": "1", "lon": "2"})
	if got := b.Process(node, in).Relations(); len(got) != 1 || got[0] != rule.True {
		t.Errorf("%v", got)
	}
}

func TestWhatFails(t *testing.T) {
	b := rulenodetest.New(t)
	const position = `{"latitude":1,"longitude":2}`
	for _, c := range []struct {
		perimeter, data, area, why string
	}{
		{"POLYGON", `{}`, "", "latitude"},
		{"POLYGON", `{"latitude":"x","longitude":1}`, "", "coordinate"},
		{"POLYGON", position, "", "ss_perimeter"},
		{"POLYGON", position, "hello", "polygons"},
		{"POLYGON", position, `[]`, "no polygon"},
		{"POLYGON", position, `[[1,2],[3,4]]`, "3 points"},
		{"POLYGON", position, `[1,2]`, "arrays"},
		{"POLYGON", position, `[[1]]`, "one number"},
		{"POLYGON", position, `[[1,"x"]]`, "one number"},
		{"CIRCLE", position, `{"latitude":1}`, "circle"},
		{"CIRCLE", position, `{"latitude":1,"longitude":1,"radius":1,"radiusUnit":"X"}`, "unit"},
	} {
		metadata := map[string]string{}
		if c.area != "" {
			metadata["ss_perimeter"] = c.area
		}
		node := b.Node(Kind(), strings.Replace(string(Kind().Default), `"POLYGON"`, `"`+c.perimeter+`"`, 1))
		why, failed := b.Process(node, b.Message("X", c.data, metadata)).Failed()
		if !failed || c.data != `{}` && !strings.Contains(why, c.why) {
			t.Errorf("%+v: %q, %v", c, why, failed)
		}
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{
		`{"perimeterType":"POLYGON"}`:                                                                       "latitudeKeyName",
		`{"latitudeKeyName":"a","perimeterType":"POLYGON"}`:                                                 "longitudeKeyName",
		`{"latitudeKeyName":"a","longitudeKeyName":"b"}`:                                                    "perimeterType",
		`{"latitudeKeyName":"a","longitudeKeyName":"b","perimeterType":"POLYGON","polygonsDefinition":"x"}`: "polygonsDefinition",
		`{"latitudeKeyName":"a","longitudeKeyName":"b","perimeterType":"CIRCLE"}`:                           "rangeUnit",
	} {
		if _, err := b.New(Kind(), config); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, want one naming %s", config, err, field)
		}
	}
}
