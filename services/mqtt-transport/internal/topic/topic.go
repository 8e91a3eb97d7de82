// Package topic says what each MQTT topic of the device API means: which action a PUBLISH asks
// for, and what a SUBSCRIBE may ask for. The names are a contract with devices.
package topic

// Action is what a PUBLISH to a topic asks for.
type Action byte

// The actions. None is a topic that means nothing; Later is one that will: it is part of the
// device API, and refused until it is served.
const (
	None Action = iota
	Telemetry
	Attributes
	AttributeRequest
	// Protobuf asks for any of the above with a payload that only device profiles with a schema have.
	Protobuf
	Later
)

// Style is which family of names a topic is of: an answer goes back in the style of its request.
type Style byte

// The styles.
const (
	Long      Style = iota // v1/devices/me/…
	Short                  // v2/…
	ShortJSON              // v2/…/j
)

// Route is what a topic was found to be.
type Route struct {
	Action Action
	Style  Style
	// Name is the topic for telemetry and attributes; for a request, what of it comes before the id.
	Name string
	// ID is a request's, as text; it points into the topic.
	ID []byte
}

// The topics of telemetry and attributes by style.
var (
	telemetryTopics  = [...]string{Long: "v1/devices/me/telemetry", Short: "v2/t", ShortJSON: "v2/t/j"}
	attributeTopics  = [...]string{Long: "v1/devices/me/attributes", Short: "v2/a", ShortJSON: "v2/a/j"}
	attributeRequest = [...]string{Long: "v1/devices/me/attributes/request/", Short: "v2/a/req/", ShortJSON: "v2/a/req/j/"}
	attributeAnswer  = [...]string{Long: "v1/devices/me/attributes/response/", Short: "v2/a/res/", ShortJSON: "v2/a/res/j/"}
)

// AttributeUpdates is the topic on which changed shared attributes are sent.
func AttributeUpdates(s Style) string { return attributeTopics[s] }

// AttributeAnswer is the topic on which the request of that id is answered.
func AttributeAnswer(s Style, id string) string { return attributeAnswer[s] + id }

// later are the beginnings of topics whose features are not served yet.
var later = [...]string{
	"v1/devices/me/rpc/", "v2/r/", "v1/devices/me/claim", "v2/fw/", "v2/sw/", "v1/gateway/", "/provision/request",
}

// Find returns what topic means. It allocates nothing.
func Find(topic []byte) Route {
	switch string(topic) {
	case telemetryTopics[Long]:
		return Route{Action: Telemetry, Style: Long, Name: telemetryTopics[Long]}
	case telemetryTopics[Short]:
		return Route{Action: Telemetry, Style: Short, Name: telemetryTopics[Short]}
	case telemetryTopics[ShortJSON]:
		return Route{Action: Telemetry, Style: ShortJSON, Name: telemetryTopics[ShortJSON]}
	case attributeTopics[Long]:
		return Route{Action: Attributes, Style: Long, Name: attributeTopics[Long]}
	case attributeTopics[Short]:
		return Route{Action: Attributes, Style: Short, Name: attributeTopics[Short]}
	case attributeTopics[ShortJSON]:
		return Route{Action: Attributes, Style: ShortJSON, Name: attributeTopics[ShortJSON]}
	case "v2/t/p", "v2/a/p":
		return Route{Action: Protobuf}
	}
	return findByBeginning(topic)
}

func findByBeginning(topic []byte) Route {
	if hasPrefix(topic, "v2/a/req/p/") {
		return Route{Action: Protobuf}
	}
	// The longer beginnings first: the short style's is one of the others'.
	for _, style := range [...]Style{ShortJSON, Short, Long} {
		if begin := attributeRequest[style]; hasPrefix(topic, begin) {
			return Route{Action: AttributeRequest, Style: style, Name: begin, ID: topic[len(begin):]}
		}
	}
	for _, begin := range later {
		if hasPrefix(topic, begin) {
			return Route{Action: Later}
		}
	}
	return Route{}
}

func hasPrefix(topic []byte, begin string) bool {
	return len(topic) >= len(begin) && string(topic[:len(begin)]) == begin
}

// ParseRequestID reads the id of a request: a decimal number of 32 bits, as devices choose it.
func ParseRequestID(text []byte) (id string, ok bool) {
	digits := text
	if len(digits) > 0 && digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) == 0 || len(digits) > 10 {
		return "", false
	}
	n := 0
	for _, d := range digits {
		if d < '0' || d > '9' {
			return "", false
		}
		n = n*10 + int(d-'0')
	}
	if n > 1<<31-1 {
		return "", false
	}
	return string(text), true
}
