package topic

// Filter is a topic filter that may be subscribed to. Only these exact filters may be: devices
// are told what they asked for and what concerns them, nothing else.
type Filter byte

// Subscription is a set of filters.
type Subscription uint32

// filters are all there are, but the profile's. Their order is no contract.
var filters = [...]string{
	"v1/devices/me/attributes", "v2/a", "v2/a/j", "v2/a/p",
	"v1/devices/me/rpc/request/+", "v2/r/req/+", "v2/r/req/j/+", "v2/r/req/p/+",
	"v1/devices/me/attributes/response/+", "v2/a/res/+", "v2/a/res/j/+", "v2/a/res/p/+",
	"v1/devices/me/rpc/response/+", "v2/r/res/+", "v2/r/res/j/+", "v2/r/res/p/+",
	"v2/fw/response/+/chunk/+", "v2/sw/response/+/chunk/+", "v2/fw/error", "v2/sw/error",
	GatewayUpdates, GatewayAttributeAnswer, GatewayRPC,
}

// The first of the filters of a kind, in the order of their styles.
const (
	updates    = Filter(styles * iota)
	rpc        // requests to the device
	answers    // to attribute requests
	rpcAnswers // to the device's own requests
	chunks     // firmware's, software's
)

// The filters that have no style. OwnUpdates is the profile's own filter for attribute updates.
const (
	ErrorsFilter         = chunks + 2
	GatewayUpdatesFilter = chunks + 4
	GatewayAnswersFilter = chunks + 5
	GatewayRPCFilter     = chunks + 6
	OwnUpdates           = Filter(len(filters))
	// NoFilter matches what nobody can subscribe to.
	NoFilter = OwnUpdates + 1
	// ProvisionedFilter is of a client that comes for credentials.
	ProvisionedFilter = OwnUpdates + 2
)

// FindFilter returns which filter text is; ok is false when it may not be subscribed to.
func FindFilter(text []byte) (f Filter, ok bool) {
	for i := range filters {
		if string(text) == filters[i] {
			return Filter(i), true
		}
	}
	return 0, false
}

// Updates says in which style f asks for changed shared attributes; ok is false when it does not.
func (f Filter) Updates() (s Style, ok bool) {
	switch {
	case f < rpc:
		return Style(f - updates), true
	case f == OwnUpdates:
		return Own, true
	}
	return 0, false
}

// RPC says in which style f asks for requests to the device; ok is false when it does not.
func (f Filter) RPC() (s Style, ok bool) {
	if f >= rpc && f < answers {
		return Style(f - rpc), true
	}
	return 0, false
}

// UpdatesFilter is the filter that asks for changed shared attributes in that style.
func UpdatesFilter(s Style) Filter {
	if s == Own {
		return OwnUpdates
	}
	return updates + Filter(s)
}

// RPCFilter is the filter that asks for requests to the device in that style.
func RPCFilter(s Style) Filter { return rpc + Filter(s) }

// AnswersFilter is the filter that matches answers to attribute requests of that style.
func AnswersFilter(s Style) Filter { return answers + Filter(s) }

// RPCAnswersFilter is the filter that matches answers to the device's own requests of that style.
func RPCAnswersFilter(s Style) Filter { return rpcAnswers + Filter(s) }

// ChunksFilter is the filter that matches the chunks that a asks for.
func ChunksFilter(a Action) Filter {
	if a == SoftwareChunk {
		return chunks + 1
	}
	return chunks
}

// Has reports whether f is in s.
func (s Subscription) Has(f Filter) bool { return s>>f&1 == 1 }

// With returns s and f.
func (s Subscription) With(f Filter) Subscription { return s | 1<<f }

// Without returns s without f.
func (s Subscription) Without(f Filter) Subscription { return s &^ (1 << f) }
