package topic

import (
	"strings"
	"testing"
)

// TestFind holds the table to device-api §1.7.
func TestFind(t *testing.T) {
	for topic, want := range map[string]Route{
		"v1/devices/me/telemetry":             {Action: Telemetry, Style: Long, Name: "v1/devices/me/telemetry"},
		"v2/t":                                {Action: Telemetry, Style: Short, Name: "v2/t"},
		"v2/t/j":                              {Action: Telemetry, Style: ShortJSON, Name: "v2/t/j"},
		"v1/devices/me/attributes":            {Action: Attributes, Style: Long, Name: "v1/devices/me/attributes"},
		"v2/a":                                {Action: Attributes, Style: Short, Name: "v2/a"},
		"v2/a/j":                              {Action: Attributes, Style: ShortJSON, Name: "v2/a/j"},
		"v1/devices/me/attributes/request/17": {Action: AttributeRequest, Style: Long, Name: "v1/devices/me/attributes/request/", ID: []byte("17")},
		"v2/a/req/1":                          {Action: AttributeRequest, Style: Short, Name: "v2/a/req/", ID: []byte("1")},
		"v2/a/req/j/x":                        {Action: AttributeRequest, Style: ShortJSON, Name: "v2/a/req/j/", ID: []byte("x")},
		"v2/t/p":                              {Action: Protobuf},
		"v2/a/p":                              {Action: Protobuf},
		"v2/a/req/p/1":                        {Action: Protobuf},
		"v1/devices/me/rpc/request/1":         {Action: Later},
		"v2/r/res/1":                          {Action: Later},
		"v1/devices/me/claim":                 {Action: Later},
		"v2/fw/request/1/chunk/0":             {Action: Later},
		"v1/gateway/connect":                  {Action: Later},
		"/provision/request":                  {Action: Later},
		"":                                    {},
		"v1/devices/me/telemetry/":            {},
		"v1/devices/me/attributes/response/1": {},
		"/v1/devices/me/telemetry":            {},
		"v2":                                  {},
	} {
		got := Find([]byte(topic))
		if got.Action != want.Action || got.Style != want.Style || got.Name != want.Name || string(got.ID) != string(want.ID) {
			t.Errorf("%q: %+v, want %+v", topic, got, want)
		}
	}
}

func TestParseRequestID(t *testing.T) {
	for text, ok := range map[string]bool{
		"0": true, "7": true, "2147483647": true, "-3": true,
		"": false, "-": false, "abc": false, "1a": false, "+1": false, "2147483648": false, "99999999999": false, " 1": false,
	} {
		if id, got := ParseRequestID([]byte(text)); got != ok || got && id != text {
			t.Errorf("%q: %q %v, want %v", text, id, got, ok)
		}
	}
}

// TestFilters holds subscriptions to device-api §1.6.
func TestFilters(t *testing.T) {
	var all Subscription
	for i, text := range filters {
		f, ok := FindFilter([]byte(text))
		if !ok || f != Filter(i) || all.Has(f) {
			t.Errorf("%s: %d %v", text, f, ok)
		}
		all = all.With(f)
		if _, updates := f.Updates(); updates != (text == "v1/devices/me/attributes" || text == "v2/a" || text == "v2/a/j") {
			t.Errorf("%s asks for updates: %v", text, updates)
		}
	}
	for f := range filters {
		if all = all.Without(Filter(f)); all.Has(Filter(f)) {
			t.Errorf("%s is still there", filters[f])
		}
	}
	for _, text := range []string{"#", "", "+", "v1/devices/me/#", "v1/devices/me/attributes/response/7", "v1/gateway/disconnect", "/provision/response"} {
		if _, ok := FindFilter([]byte(text)); ok {
			t.Errorf("%q may be subscribed to", text)
		}
	}
}

// TestStylesMatch: the filters that answers and updates are matched to are those of their topics.
func TestStylesMatch(t *testing.T) {
	for _, s := range []Style{Long, Short, ShortJSON} {
		if filter := filters[UpdatesFilter(s)]; filter != AttributeUpdates(s) {
			t.Errorf("updates on %s by %s", AttributeUpdates(s), filter)
		}
		if filter, answer := filters[AnswersFilter(s)], AttributeAnswer(s, "5"); filter != strings.TrimSuffix(answer, "5")+"+" {
			t.Errorf("answers on %s by %s", answer, filter)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	topic := []byte("v1/devices/me/telemetry")
	b.ReportAllocs()
	for b.Loop() {
		if Find(topic).Action != Telemetry {
			b.Fatal("not found")
		}
	}
}
