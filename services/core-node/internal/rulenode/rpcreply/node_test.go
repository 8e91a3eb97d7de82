package rpcreply

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

const uuid = "01890a5d-ac96-774b-bcce-b302099a8057"

func TestA24TheBodyGoesToTheSession(t *testing.T) {
	session, err := ident.Parse(uuid)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, config string
		metadata     map[string]string
	}{
		{"by default", "", map[string]string{"serviceId": "mqtt-1", "sessionId": uuid, "requestId": "3"}},
		{"null is the default", `{"serviceIdMetaDataAttribute":null}`, map[string]string{"serviceId": "mqtt-1", "sessionId": uuid, "requestId": "3"}},
		{
			"other keys", `{"serviceIdMetaDataAttribute":"a","sessionIdMetaDataAttribute":"b","requestIdMetaDataAttribute":"c"}`,
			map[string]string{"a": "mqtt-1", "b": uuid, "c": "3"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := rulenodetest.New(t)
			in := b.Message("T", `{"time":1}`, c.metadata)
			want := []rulenodetest.Emitted{{
				Relation: rule.Success, Type: "T", Data: `{"time":1}`, Metadata: c.metadata, Originator: in.Originator,
				Answered: &rule.Answer{Node: "mqtt-1", Session: session, Request: 3, Payload: `{"time":1}`},
			}}
			if diff := cmp.Diff(want, b.Process(b.Node(Kind(), c.config), in).Emitted); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatCannotBeAnsweredFails(t *testing.T) {
	b := rulenodetest.New(t)
	node := b.Node(Kind(), "")
	for _, c := range []struct{ key, value, why string }{
		{"serviceId", "", "serviceId is not present"},
		{"serviceId", "a/b", "serviceId: "},
		{"serviceId", strings.Repeat("a", 201), "serviceId: "},
		{"sessionId", "", "sessionId is not present"},
		{"sessionId", "x", "sessionId: "},
		{"requestId", "", "requestId is not present"},
		{"requestId", "1.5", "requestId: "},
		{"requestId", "4294967296", "requestId: "},
	} {
		metadata := map[string]string{"serviceId": "mqtt-1", "sessionId": uuid, "requestId": "3"}
		metadata[c.key] = c.value
		if why, failed := b.Process(node, b.Message("T", `{}`, metadata)).Failed(); !failed || !strings.Contains(why, c.why) {
			t.Errorf("%s %q: failed %v with %q", c.key, c.value, failed, why)
		}
	}
	if why, _ := b.Process(node, b.Message("T", "", map[string]string{"serviceId": "mqtt-1", "sessionId": uuid, "requestId": "3"})).Failed(); !strings.Contains(why, "body is empty") {
		t.Errorf("an empty body: %q", why)
	}
	other := b.Message("T", `{}`, nil)
	other.Originator.Type = ident.Asset
	if why, _ := b.Process(node, other).Failed(); !strings.Contains(why, "not a device") {
		t.Errorf("an asset's: %q", why)
	}
}
