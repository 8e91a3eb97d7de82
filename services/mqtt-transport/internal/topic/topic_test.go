package topic

import (
	"strings"
	"testing"
)

// TestFind holds the table to device-api §1.7.
func TestFind(t *testing.T) {
	type want = Route
	for topic, want := range map[string]want{
		"v1/devices/me/telemetry":             {Action: Telemetry, Style: Long, Name: "v1/devices/me/telemetry"},
		"v2/t":                                {Action: Telemetry, Style: Short, Name: "v2/t"},
		"v2/t/j":                              {Action: Telemetry, Style: ShortJSON, Name: "v2/t/j"},
		"v2/t/p":                              {Action: Telemetry, Style: ShortProtobuf, Name: "v2/t/p"},
		"v1/devices/me/attributes":            {Action: Attributes, Style: Long, Name: "v1/devices/me/attributes"},
		"v2/a":                                {Action: Attributes, Style: Short, Name: "v2/a"},
		"v2/a/j":                              {Action: Attributes, Style: ShortJSON, Name: "v2/a/j"},
		"v2/a/p":                              {Action: Attributes, Style: ShortProtobuf, Name: "v2/a/p"},
		"v1/devices/me/attributes/request/17": {Action: AttributeRequest, Style: Long, Name: "v1/devices/me/attributes/request/", ID: []byte("17")},
		"v2/a/req/1":                          {Action: AttributeRequest, Style: Short, Name: "v2/a/req/", ID: []byte("1")},
		"v2/a/req/j/x":                        {Action: AttributeRequest, Style: ShortJSON, Name: "v2/a/req/j/", ID: []byte("x")},
		"v2/a/req/p/1":                        {Action: AttributeRequest, Style: ShortProtobuf, Name: "v2/a/req/p/", ID: []byte("1")},
		"v1/devices/me/rpc/request/3":         {Action: CallRPC, Style: Long, Name: "v1/devices/me/rpc/request/", ID: []byte("3")},
		"v2/r/req/3":                          {Action: CallRPC, Style: Short, Name: "v2/r/req/", ID: []byte("3")},
		"v2/r/req/j/3":                        {Action: CallRPC, Style: ShortJSON, Name: "v2/r/req/j/", ID: []byte("3")},
		"v2/r/req/p/3":                        {Action: CallRPC, Style: ShortProtobuf, Name: "v2/r/req/p/", ID: []byte("3")},
		"v1/devices/me/rpc/response/0":        {Action: ReplyRPC, Style: Long, Name: "v1/devices/me/rpc/response/", ID: []byte("0")},
		"v2/r/res/0":                          {Action: ReplyRPC, Style: Short, Name: "v2/r/res/", ID: []byte("0")},
		"v2/r/res/j/0":                        {Action: ReplyRPC, Style: ShortJSON, Name: "v2/r/res/j/", ID: []byte("0")},
		"v2/r/res/p/0":                        {Action: ReplyRPC, Style: ShortProtobuf, Name: "v2/r/res/p/", ID: []byte("0")},
		"v1/devices/me/claim":                 {Action: Claim, Name: "v1/devices/me/claim"},
		"v2/fw/request/1/chunk/20":            {Action: FirmwareChunk, Style: Short, Name: "v2/fw/request/", ID: []byte("1"), Chunk: []byte("20")},
		"v2/sw/request/12/chunk/0":            {Action: SoftwareChunk, Style: Short, Name: "v2/sw/request/", ID: []byte("12"), Chunk: []byte("0")},
		"/provision/request":                  {Action: Provision, Name: "/provision/request"},
		"v1/gateway/connect":                  {Action: GatewayConnect, Name: "v1/gateway/connect"},
		"v1/gateway/disconnect":               {Action: GatewayDisconnect, Name: "v1/gateway/disconnect"},
		"v1/gateway/telemetry":                {Action: GatewayTelemetry, Name: "v1/gateway/telemetry"},
		"v1/gateway/attributes":               {Action: GatewayAttributes, Name: "v1/gateway/attributes"},
		"v1/gateway/attributes/request":       {Action: GatewayAttributeRequest, Name: "v1/gateway/attributes/request"},
		"v1/gateway/rpc":                      {Action: GatewayReplyRPC, Name: "v1/gateway/rpc"},
		"v1/gateway/claim":                    {Action: GatewayClaim, Name: "v1/gateway/claim"},
		"v1/gateway/else":                     {Action: Gateway},
		"v1/gateway/":                         {Action: Gateway},
		"v1/gateway":                          {},
		"":                                    {},
		"v1/devices/me/telemetry/":            {},
		"v1/devices/me/attributes/response/1": {},
		"v1/devices/me/claim/1":               {},
		"/v1/devices/me/telemetry":            {},
		"v2":                                  {},
		"v2/fw/request/1/chunk/":              {},
		"v2/fw/request/1/chunk/x":             {},
		"v2/fw/request//chunk/1":              {},
		"v2/fw/request/x/chunk/1":             {},
		"v2/fw/request/1/chunk":               {},
		"v2/fw/response/1/chunk/1":            {},
	} {
		checkRoute(t, topic, Find([]byte(topic)), want)
	}
}

func checkRoute(t *testing.T, topic string, got, want Route) {
	t.Helper()
	if got.Action != want.Action || got.Style != want.Style || got.Name != want.Name ||
		string(got.ID) != string(want.ID) || string(got.Chunk) != string(want.Chunk) {
		t.Errorf("%q: %+v, want %+v", topic, got, want)
	}
}

func TestFindAllocatesNothing(t *testing.T) {
	names := Names{Telemetry: "sensors/data", Attributes: "sensors/+/state"}
	for _, topic := range []string{"v1/devices/me/telemetry", "v2/a/req/p/1", "v2/sw/request/12/chunk/0", "v1/gateway/telemetry", "sensors/data", "nothing/such"} {
		text := []byte(topic)
		if n := testing.AllocsPerRun(100, func() { Find(text); names.Find(text) }); n > 0 {
			t.Errorf("%s: %v allocations", topic, n)
		}
	}
}

func TestParseRequestID(t *testing.T) {
	for text, want := range map[string]int32{"0": 0, "7": 7, "007": 7, "2147483647": 1<<31 - 1, "-3": -3, "-2147483648": -1 << 31} {
		if id, ok := ParseRequestID([]byte(text)); !ok || id != want {
			t.Errorf("%q: %d %v, want %d", text, id, ok, want)
		}
	}
	for _, text := range []string{"", "-", "abc", "1a", "+1", "2147483648", "-2147483649", "99999999999", " 1", "--1"} {
		if id, ok := ParseRequestID([]byte(text)); ok {
			t.Errorf("%q: %d", text, id)
		}
	}
}

// TestFilters holds subscriptions to device-api §1.6.
func TestFilters(t *testing.T) {
	updates := map[string]Style{"v1/devices/me/attributes": Long, "v2/a": Short, "v2/a/j": ShortJSON, "v2/a/p": ShortProtobuf}
	rpc := map[string]Style{"v1/devices/me/rpc/request/+": Long, "v2/r/req/+": Short, "v2/r/req/j/+": ShortJSON, "v2/r/req/p/+": ShortProtobuf}
	var all Subscription
	for i, text := range filters {
		f, ok := FindFilter([]byte(text))
		if !ok || f != Filter(i) || all.Has(f) {
			t.Errorf("%s: %d %v", text, f, ok)
		}
		all = all.With(f)
		checkStyle(t, text+" asks for updates", f.Updates, updates)
		checkStyle(t, text+" asks for requests", f.RPC, rpc)
	}
	for f := range filters {
		if all = all.Without(Filter(f)); all.Has(Filter(f)) {
			t.Errorf("%s is still there", filters[f])
		}
	}
	for _, text := range []string{"#", "", "+", "v1/devices/me/#", "v1/devices/me/attributes/response/7", "v1/gateway/disconnect", "/provision/response", "v2/fw/response/+"} {
		if _, ok := FindFilter([]byte(text)); ok {
			t.Errorf("%q may be subscribed to", text)
		}
	}
}

func checkStyle(t *testing.T, what string, of func() (Style, bool), want map[string]Style) {
	t.Helper()
	style, ok := of()
	text, _, _ := strings.Cut(what, " ")
	if wanted, should := want[text]; ok != should || ok && style != wanted {
		t.Errorf("%s: %d %v", what, style, ok)
	}
}

// TestStylesMatch: the filters that what is sent is matched to are those of their topics.
func TestStylesMatch(t *testing.T) {
	for _, s := range []Style{Long, Short, ShortJSON, ShortProtobuf} {
		if filter := filters[UpdatesFilter(s)]; filter != AttributeUpdates(s) {
			t.Errorf("updates on %s by %s", AttributeUpdates(s), filter)
		}
		for topic, filter := range map[string]Filter{
			AttributeAnswer(s, "5"): AnswersFilter(s), RPCRequest(s, "5"): RPCFilter(s), RPCAnswer(s, "5"): RPCAnswersFilter(s),
		} {
			if filters[filter] != strings.TrimSuffix(topic, "5")+"+" {
				t.Errorf("%s by %s", topic, filters[filter])
			}
		}
	}
	for topic, filter := range map[string]Filter{
		PackageChunk(FirmwareChunk, "1", "2"): ChunksFilter(FirmwareChunk), PackageChunk(SoftwareChunk, "1", "2"): ChunksFilter(SoftwareChunk),
		PackageError: ErrorsFilter, GatewayUpdates: GatewayUpdatesFilter, GatewayAttributeAnswer: GatewayAnswersFilter, GatewayRPC: GatewayRPCFilter,
	} {
		if !Match(filters[filter], []byte(topic)) {
			t.Errorf("%s by %s", topic, filters[filter])
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
