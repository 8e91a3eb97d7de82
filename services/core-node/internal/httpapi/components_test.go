package httpapi_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
)

type componentAnswer struct {
	Type, Name, Clazz       string
	HasQueueName            bool
	ConfigurationDescriptor struct {
		NodeDefinition struct {
			Description, Details  string
			InEnabled, OutEnabled bool
			CustomRelations       bool
			RelationTypes         []string
			DefaultConfiguration  json.RawMessage
		}
	}
}

func TestComponents(t *testing.T) {
	c := httpapitest.Start(t).Admin(t)
	answer := c.Do("GET", "/api/component/"+classes+"telemetry.TbMsgTimeseriesNode", nil).Expect(200)
	var fields map[string]json.RawMessage
	answer.JSON(&fields)
	want := []string{
		"actions", "clazz", "clusteringMode", "configurationDescriptor", "configurationVersion", "createdTime", "hasQueueName", "id", "name", "scope", "type",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(fields))); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	var one componentAnswer
	answer.JSON(&one)
	d := one.ConfigurationDescriptor.NodeDefinition
	if one.Type != "ACTION" || one.Name != "save time series" || !d.InEnabled || !d.OutEnabled || d.CustomRelations || d.Description == "" ||
		!slices.Equal(d.RelationTypes, []string{"Success", "Failure"}) || !json.Valid(d.DefaultConfiguration) {
		t.Errorf("component %+v", one)
	}
	var actions, several []componentAnswer
	c.Get("/api/components/ACTION", &actions)
	c.Get("/api/components?componentTypes=ACTION,FILTER&ruleChainType=CORE", &several)
	if len(actions) < 3 || len(several) <= len(actions) {
		t.Errorf("%d actions, %d actions and filters", len(actions), len(several))
	}
	for _, one := range actions {
		if one.Type != "ACTION" {
			t.Errorf("%s is no action", one.Name)
		}
	}
	c.Do("GET", "/api/components/NONSENSE", nil).ExpectError(400, 31)
	c.Do("GET", "/api/components?componentTypes=", nil).ExpectError(400, 31)
	c.Do("GET", "/api/components/ACTION?ruleChainType=NONSENSE", nil).ExpectError(400, 31)
	c.Do("GET", "/api/component/"+classes+"ai.TbAiNode", nil).ExpectError(404, 32)
}
