package rpcrequest

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/raised"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

const uuid = "01890a5d-ac96-774b-bcce-b302099a8057"

func TestA23RequestsAreMadeOfMessages(t *testing.T) {
	id, err := ident.Parse(uuid)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, config, body string
		metadata           map[string]string
		want               rule.Request
	}{
		{"by default", "", `{"method":"m","params":{"p": 1}}`, nil, rule.Request{Method: "m", Params: `{"p":1}`, Expires: 60_000, Retries: -1}},
		{"a time of its own", `{"timeoutInSeconds":5}`, `{"method":"m","params":null}`, nil, rule.Request{Method: "m", Params: `null`, Expires: 5000, Retries: -1}},
		{
			"as people ask", "", `{"method":"m","params":"{\"p\":1}","additionalInfo":{"a": 1}}`,
			map[string]string{"requestUUID": uuid, "oneway": "true", "persistent": "true", "expirationTime": "1800000007000", "retries": "2"},
			rule.Request{ID: id, Method: "m", Params: `{"p":1}`, OneWay: true, Persistent: true, Expires: 7000, Retries: 2, AdditionalInfo: `{"a":1}`},
		},
		{"a text", "", `{"method":"m","params":"on"}`, map[string]string{"oneway": "false"}, rule.Request{Method: "m", Params: `"on"`, Expires: 60_000, Retries: -1}},
		{"a number", "", `{"method":"m","params":7}`, map[string]string{"additionalInfo": `{"b":2}`}, rule.Request{Method: "m", Params: `7`, Expires: 60_000, Retries: -1, AdditionalInfo: `{"b":2}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := rulenodetest.New(t)
			in := b.Message("T", c.body, c.metadata)
			if c.want.Expires += rulenodetest.NowMillis; c.want.ID.IsZero() {
				c.want.ID = raised.ID(b.Services, in, "rpc")
			}
			want := []rulenodetest.Emitted{{Type: "T", Data: c.body, Metadata: in.Metadata.All(), Originator: in.Originator, Asked: &c.want}}
			if diff := cmp.Diff(want, b.Process(b.Node(Kind(), c.config), in).Emitted); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMessagesThatAreNoRequestsFail(t *testing.T) {
	b := rulenodetest.New(t)
	node := b.Node(Kind(), "")
	for _, c := range []struct {
		body, key, value, why string
	}{
		{`{"params":1}`, "", "", "method is not present"},
		{`{"method":"m"}`, "", "", "params are not present"},
		{`[]`, "", "", "no JSON object"},
		{`{"method":"m","params":1}`, "requestUUID", "x", "requestUUID: "},
		{`{"method":"m","params":1}`, "expirationTime", "soon", "expirationTime: "},
		{`{"method":"m","params":1}`, "retries", "-1", "retries: "},
	} {
		metadata := map[string]string{}
		if c.key != "" {
			metadata[c.key] = c.value
		}
		if why, failed := b.Process(node, b.Message("T", c.body, metadata)).Failed(); !failed || !strings.Contains(why, c.why) {
			t.Errorf("%s with %v: failed %v with %q", c.body, metadata, failed, why)
		}
	}
	other := b.Message("T", `{"method":"m","params":1}`, nil)
	other.Originator.Type = ident.Asset
	if why, _ := b.Process(node, other).Failed(); !strings.Contains(why, "not a device") {
		t.Errorf("an asset's: %q", why)
	}
}

func TestTheSameMessageIsTheSameRequest(t *testing.T) {
	b := rulenodetest.New(t)
	node := b.Node(Kind(), "")
	in := b.Message("T", `{"method":"m","params":1}`, nil)
	first := b.Process(node, in)
	b.Advance(time.Second)
	if again := b.Process(node, in); again.Emitted[0].Asked.ID != first.Emitted[0].Asked.ID {
		t.Errorf("%v and %v", first.Emitted[0].Asked, again.Emitted[0].Asked)
	}
}

func TestConfigurationIsRefusedByField(t *testing.T) {
	for _, config := range []string{`{"timeoutInSeconds":-1}`, `{"timeoutInSeconds":31536001}`} {
		if _, err := rulenodetest.New(t).New(Kind(), config); err == nil || !strings.HasPrefix(err.Error(), "timeoutInSeconds: ") {
			t.Errorf("%s: %v", config, err)
		}
	}
}
