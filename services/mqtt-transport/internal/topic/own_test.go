package topic

import "testing"

// TestOwnNames holds a profile's names to device-api §1.13.
func TestOwnNames(t *testing.T) {
	long := Route{Action: Telemetry, Style: Long, Name: "v1/devices/me/telemetry"}
	for _, c := range []struct {
		name  string
		names Names
		topic string
		want  Route
	}{
		{"none", Names{}, "v1/devices/me/telemetry", long},
		{"the standard's", Names{Telemetry: "v1/devices/me/telemetry"}, "v1/devices/me/telemetry", long},
		{"telemetry", Names{Telemetry: "sensors/+/data"}, "sensors/a/data", Route{Action: Telemetry, Style: Long, Name: "sensors/a/data"}},
		{"telemetry replaced", Names{Telemetry: "sensors/+/data"}, "v1/devices/me/telemetry", Route{}},
		{"attributes stay", Names{Telemetry: "sensors/+/data"}, "v1/devices/me/attributes", Route{Action: Attributes, Style: Long, Name: "v1/devices/me/attributes"}},
		{"short stays", Names{Telemetry: "sensors/+/data"}, "v2/t", Route{Action: Telemetry, Style: Short, Name: "v2/t"}},
		{"attributes", Names{Attributes: "state"}, "state", Route{Action: Attributes, Style: Long, Name: "state"}},
		{"attributes replaced", Names{Attributes: "state"}, "v1/devices/me/attributes", Route{}},
		{"attributes first", Names{Telemetry: "#", Attributes: "x/#"}, "x/y", Route{Action: Attributes, Style: Long, Name: "x/y"}},
		{"all else", Names{Telemetry: "#", Attributes: "x/#"}, "v1/devices/me/attributes", Route{Action: Telemetry, Style: Long, Name: "v1/devices/me/attributes"}},
		{"swallowed", Names{Telemetry: "#"}, "v2/a/req/1", Route{Action: Telemetry, Style: Long, Name: "v2/a/req/1"}},
		{"gateways' never", Names{Telemetry: "#"}, "v1/gateway/rpc", Route{Action: GatewayReplyRPC, Name: "v1/gateway/rpc"}},
	} {
		t.Run(c.name, func(t *testing.T) { checkRoute(t, c.topic, c.names.Find([]byte(c.topic)), c.want) })
	}
}

func TestOwnUpdates(t *testing.T) {
	for updates, topic := range map[string]string{"": AttributeUpdates(Long), "own/updates": "own/updates", "own/+": AttributeUpdates(Long), "own/#": AttributeUpdates(Long)} {
		names := Names{Updates: updates}
		if got := names.UpdatesTopic(); got != topic {
			t.Errorf("%q: %s, want %s", updates, got, topic)
		}
		if f, ok := names.FindFilter([]byte(updates)); ok != (updates != "") || ok && f != OwnUpdates {
			t.Errorf("%q: %d %v", updates, f, ok)
		}
	}
	names := Names{Updates: "own/updates"}
	if f, ok := names.FindFilter([]byte("v2/a")); !ok || f != UpdatesFilter(Short) {
		t.Errorf("v2/a: %d %v", f, ok)
	}
	if style, ok := OwnUpdates.Updates(); !ok || style != Own || UpdatesFilter(Own) != OwnUpdates {
		t.Errorf("style %d %v", style, ok)
	}
}

// TestMatch holds filters to MQTT 5 §4.7.
func TestMatch(t *testing.T) {
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true},
		{"a/b", "a", false},
		{"a", "a/b", false},
		{"a/+", "a/b", true},
		{"a/+", "a", false},
		{"a/+", "a/", true},
		{"a/+/c", "a/b/c", true},
		{"a/+/c", "a/b/d", false},
		{"+", "a", true},
		{"+", "a/b", false},
		{"+/+", "/", true},
		{"#", "a/b/c", true},
		{"#", "a", true},
		{"a/#", "a", true},
		{"a/#", "a/b/c", true},
		{"a/#", "b", false},
		{"a/#", "ab", false},
		{"#", "$SYS/x", false},
		{"+/x", "$SYS/x", false},
		{"$SYS/#", "$SYS/x", true},
		{"a/#/b", "a/x/b", false},
		{"", "a", false},
	} {
		if got := Match(c.filter, []byte(c.topic)); got != c.want {
			t.Errorf("%s on %s: %v", c.filter, c.topic, got)
		}
	}
}

// FuzzFind: whatever a client publishes to, a route is found or not, and a profile's filter never takes what is the gateways'.
func FuzzFind(f *testing.F) {
	for _, topic := range []string{"v1/devices/me/telemetry", "v2/a/req/p/1", "v2/sw/request/12/chunk/0", "v1/gateway/x", "sensors/a/data", "/", ""} {
		f.Add([]byte(topic), "sensors/+/data")
	}
	f.Fuzz(func(t *testing.T, topic []byte, filter string) {
		names := Names{Telemetry: filter}
		route, standard := names.Find(topic), Find(topic)
		if standard.Action.OfGateway() != route.Action.OfGateway() {
			t.Fatalf("%q by %q: %+v, without %+v", topic, filter, route, standard)
		}
		if route.Action == FirmwareChunk && (len(route.ID) == 0 || len(route.Chunk) == 0) {
			t.Fatalf("%q: %+v", topic, route)
		}
	})
}
