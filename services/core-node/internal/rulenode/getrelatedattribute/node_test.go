package getrelatedattribute

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

func TestWhatIsFetched(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	other := b.NewDevice("Other", "meter")
	far := b.NewDevice("Far", "meter")
	b.Relate(b.Device.Entity(), other)
	b.Relate(other, far)
	b.Put(other, storage.Server, 1, `{"sn":7}`)
	b.Put(other, storage.Timeseries, 1, `{"sn":8}`)
	b.Put(far, storage.Server, 1, `{"sn":9}`)
	const query = `"fetchTo":"METADATA","relationsQuery":{"direction":"FROM","maxLevel":1,"filters":[{"relationType":"Contains","entityTypes":["DEVICE"]}]}`
	for config, want := range map[string]map[string]string{
		`{"dataMapping":{"sn":"serial"},"dataToFetch":"ATTRIBUTES",` + query + `}`:                                                                                     {"serial": "7"},
		`{"dataMapping":{"sn":"serial"},"dataToFetch":"LATEST_TELEMETRY",` + query + `}`:                                                                               {"serial": "8"},
		`{"dataMapping":{"name":"n","type":"t","label":"l","id.entityType":"e"},"dataToFetch":"FIELDS",` + query + `}`:                                                 {"n": "Other", "t": "meter", "e": "DEVICE"},
		`{"dataMapping":{"sn":"serial"},"dataToFetch":"ATTRIBUTES","fetchTo":"METADATA","relationsQuery":{"direction":"FROM","maxLevel":2,"fetchLastLevelOnly":true}}`: {"serial": "9"},
	} {
		got := b.Process(b.Node(Kind(), config), b.Message("X", `{}`, nil)).Emitted
		if len(got) != 1 || got[0].Relation != rule.Success {
			t.Fatalf("%s: %+v", config, got)
		}
		if diff := cmp.Diff(want, got[0].Metadata); diff != "" {
			t.Errorf("%s: %s", config, diff)
		}
	}
	back := strings.ReplaceAll(string(Kind().Default), "FROM", "TO")
	if why, failed := b.Process(b.Node(Kind(), back), b.Message("X", `{}`, nil)).Failed(); !failed || !strings.Contains(why, "related") {
		t.Errorf("nobody is related: %q, %v", why, failed)
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	b := rulenodetest.New(t)
	for config, field := range map[string]string{
		`{"dataToFetch":"ATTRIBUTES","fetchTo":"DATA"}`:                                                                                           "dataMapping",
		`{"dataMapping":{"a":"b"},"dataToFetch":"X","fetchTo":"DATA"}`:                                                                            "dataToFetch",
		`{"dataMapping":{"a":"b"},"dataToFetch":"ATTRIBUTES","fetchTo":"X"}`:                                                                      "fetchTo",
		`{"dataMapping":{"a":"b"},"dataToFetch":"FIELDS","fetchTo":"DATA"}`:                                                                       "relationsQuery",
		`{"dataMapping":{"a":"b"},"dataToFetch":"FIELDS","fetchTo":"DATA","relationsQuery":{"direction":"UP"}}`:                                   "relationsQuery.direction",
		`{"dataMapping":{"a":"b"},"dataToFetch":"FIELDS","fetchTo":"DATA","relationsQuery":{"direction":"TO","filters":[{"entityTypes":["X"]}]}}`: "relationsQuery.filters[0].entityTypes",
	} {
		if _, err := b.New(Kind(), config); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, want one naming %s", config, err, field)
		}
	}
}

func TestOldConfigurationsAreUpgraded(t *testing.T) {
	for _, c := range []struct {
		from      int
		old, want string
	}{
		{0, `{"attrMapping":{"a":"b"},"telemetry":true}`, `{"dataMapping":{"a":"b"},"dataToFetch":"LATEST_TELEMETRY","fetchTo":"METADATA"}`},
		{0, `{"attrMapping":{"a":"b"},"telemetry":"false"}`, `{"dataMapping":{"a":"b"},"dataToFetch":"ATTRIBUTES","fetchTo":"METADATA"}`},
	} {
		if got, _ := rulenodetest.Upgrade(t, Kind(), c.from, c.old); got != c.want {
			t.Errorf("%s becomes %s, want %s", c.old, got, c.want)
		}
	}
}
