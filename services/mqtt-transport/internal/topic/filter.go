package topic

// Filter is a topic filter that may be subscribed to. Only these exact filters may be: devices
// are told what they asked for and what concerns them, nothing else.
type Filter byte

// Subscription is a set of filters.
type Subscription uint32

// filters are all there are. Their order is no contract.
var filters = [...]string{
	"v1/devices/me/attributes", "v2/a", "v2/a/j",
	"v1/devices/me/attributes/response/+", "v2/a/res/+", "v2/a/res/j/+",
	"v1/devices/me/rpc/request/+", "v2/r/req/+", "v2/r/req/j/+",
	"v1/devices/me/rpc/response/+", "v2/r/res/+", "v2/r/res/j/+",
	"v2/fw/response/+/chunk/+", "v2/fw/error", "v2/sw/response/+/chunk/+", "v2/sw/error",
	"v1/gateway/attributes", "v1/gateway/attributes/response", "v1/gateway/rpc",
}

// updates and answers are the first of three filters each, by style.
const (
	updates = Filter(0)
	answers = Filter(3)
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
	if f < updates+3 {
		return Style(f - updates), true
	}
	return 0, false
}

// UpdatesFilter is the filter that asks for changed shared attributes in that style.
func UpdatesFilter(s Style) Filter { return updates + Filter(s) }

// AnswersFilter is the filter that matches answers to attribute requests of that style.
func AnswersFilter(s Style) Filter { return answers + Filter(s) }

// AllUpdates are the filters that ask for changed shared attributes.
const AllUpdates = Subscription(1<<updates | 1<<(updates+1) | 1<<(updates+2))

// Has reports whether f is in s.
func (s Subscription) Has(f Filter) bool { return s>>f&1 == 1 }

// With returns s and f.
func (s Subscription) With(f Filter) Subscription { return s | 1<<f }

// Without returns s without f.
func (s Subscription) Without(f Filter) Subscription { return s &^ (1 << f) }
