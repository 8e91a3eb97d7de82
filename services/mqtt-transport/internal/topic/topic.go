// Package topic says what each MQTT topic of the device API means: which action a PUBLISH asks
// for, and what a SUBSCRIBE may ask for. The names are a contract with devices.
package topic

// Action is what a PUBLISH to a topic asks for.
type Action byte

// The actions. None is a topic that means nothing.
const (
	None Action = iota
	Telemetry
	Attributes
	AttributeRequest
	ReplyRPC // what the device answers a request of the platform with
	CallRPC  // the device's own request
	Claim
	FirmwareChunk
	SoftwareChunk
	Provision
	// What a gateway says of the devices behind it. Gateway is a topic beside those that means nothing.
	Gateway
	GatewayConnect
	GatewayDisconnect
	GatewayTelemetry
	GatewayAttributes
	GatewayAttributeRequest
	GatewayReplyRPC
	GatewayClaim
)

// OfGateway reports whether only gateways may ask for a.
func (a Action) OfGateway() bool { return a >= Gateway }

// Style is which family of names a topic is of: an answer goes back in the style of its request.
type Style byte

// The styles.
const (
	Long          Style      = iota // v1/devices/me/…
	Short                           // v2/…
	ShortJSON                       // v2/…/j
	ShortProtobuf                   // v2/…/p
	Own                             // the device profile's own name
	styles        = int(Own)        // that have names of their own
)

// Route is what a topic was found to be.
type Route struct {
	Action Action
	Style  Style
	// Name is the topic for telemetry and attributes; for a request, what of it comes before the id.
	Name string
	// ID is a request's, as text; it points into the topic. Chunk is that of a package asked for.
	ID, Chunk []byte
}

// The topics by style.
var (
	telemetryTopics  = [styles]string{Long: "v1/devices/me/telemetry", Short: "v2/t", ShortJSON: "v2/t/j", ShortProtobuf: "v2/t/p"}
	attributeTopics  = [styles]string{Long: "v1/devices/me/attributes", Short: "v2/a", ShortJSON: "v2/a/j", ShortProtobuf: "v2/a/p"}
	attributeRequest = [styles]string{Long: "v1/devices/me/attributes/request/", Short: "v2/a/req/", ShortJSON: "v2/a/req/j/", ShortProtobuf: "v2/a/req/p/"}
	attributeAnswer  = [styles]string{Long: "v1/devices/me/attributes/response/", Short: "v2/a/res/", ShortJSON: "v2/a/res/j/", ShortProtobuf: "v2/a/res/p/"}
	rpcRequest       = [styles]string{Long: "v1/devices/me/rpc/request/", Short: "v2/r/req/", ShortJSON: "v2/r/req/j/", ShortProtobuf: "v2/r/req/p/"}
	rpcAnswer        = [styles]string{Long: "v1/devices/me/rpc/response/", Short: "v2/r/res/", ShortJSON: "v2/r/res/j/", ShortProtobuf: "v2/r/res/p/"}
)

// Topics to a device that have no style.
const (
	// PackageError is told of firmware and of software.
	PackageError = "v2/fw/error"
	// Provisioned is where a provisioning session is answered.
	Provisioned = "/provision/response"
)

// AttributeUpdates is the topic on which changed shared attributes are sent.
func AttributeUpdates(s Style) string { return attributeTopics[s] }

// AttributeAnswer is the topic on which the request for attributes of that id is answered.
func AttributeAnswer(s Style, id string) string { return attributeAnswer[s] + id }

// RPCRequest is the topic on which the device is sent the request of that id.
func RPCRequest(s Style, id string) string { return rpcRequest[s] + id }

// RPCAnswer is the topic on which the device's own request of that id is answered.
func RPCAnswer(s Style, id string) string { return rpcAnswer[s] + id }

// PackageChunk is the topic on which a chunk is sent that a (FirmwareChunk or SoftwareChunk) asked for.
func PackageChunk(a Action, id, chunk string) string {
	begin := "v2/fw/response/"
	if a == SoftwareChunk {
		begin = "v2/sw/response/"
	}
	return begin + id + "/chunk/" + chunk
}

// Find returns what topic means to a device whose profile has no topics of its own. It allocates nothing.
func Find(topic []byte) Route {
	switch string(topic) {
	case telemetryTopics[Long]:
		return Route{Action: Telemetry, Style: Long, Name: telemetryTopics[Long]}
	case telemetryTopics[Short]:
		return Route{Action: Telemetry, Style: Short, Name: telemetryTopics[Short]}
	case telemetryTopics[ShortJSON]:
		return Route{Action: Telemetry, Style: ShortJSON, Name: telemetryTopics[ShortJSON]}
	case telemetryTopics[ShortProtobuf]:
		return Route{Action: Telemetry, Style: ShortProtobuf, Name: telemetryTopics[ShortProtobuf]}
	case attributeTopics[Long]:
		return Route{Action: Attributes, Style: Long, Name: attributeTopics[Long]}
	case attributeTopics[Short]:
		return Route{Action: Attributes, Style: Short, Name: attributeTopics[Short]}
	case attributeTopics[ShortJSON]:
		return Route{Action: Attributes, Style: ShortJSON, Name: attributeTopics[ShortJSON]}
	case attributeTopics[ShortProtobuf]:
		return Route{Action: Attributes, Style: ShortProtobuf, Name: attributeTopics[ShortProtobuf]}
	case gatewayTopics[GatewayTelemetry]:
		return Route{Action: GatewayTelemetry, Name: gatewayTopics[GatewayTelemetry]}
	case claimTopic:
		return Route{Action: Claim, Name: claimTopic}
	case provisionTopic:
		return Route{Action: Provision, Name: provisionTopic}
	}
	return findByBeginning(topic)
}

const (
	claimTopic     = "v1/devices/me/claim"
	provisionTopic = "/provision/request"
)

// requests are the topics that end with an id. The longer beginnings first: the short style's is one of the others'.
var requests = [...]struct {
	action Action
	begin  *[styles]string
}{{ReplyRPC, &rpcAnswer}, {AttributeRequest, &attributeRequest}, {CallRPC, &rpcRequest}}

func findByBeginning(topic []byte) Route {
	if hasPrefix(topic, gatewayBegin) {
		return findGateway(topic)
	}
	for i := range requests {
		for _, style := range [...]Style{ShortProtobuf, ShortJSON, Short, Long} {
			if begin := requests[i].begin[style]; hasPrefix(topic, begin) {
				return Route{Action: requests[i].action, Style: style, Name: begin, ID: topic[len(begin):]}
			}
		}
	}
	for i := range packages {
		if begin := packages[i].begin; hasPrefix(topic, begin) {
			return findChunk(packages[i].action, begin, topic[len(begin):])
		}
	}
	return Route{}
}

var packages = [...]struct {
	action Action
	begin  string
}{{FirmwareChunk, "v2/fw/request/"}, {SoftwareChunk, "v2/sw/request/"}}

// findChunk looks at what follows the beginning: {id}/chunk/{n}, both in digits.
func findChunk(a Action, begin string, rest []byte) Route {
	id := leadingDigits(rest)
	const between = "/chunk/"
	if id == 0 || !hasPrefix(rest[id:], between) {
		return Route{}
	}
	chunk := rest[id+len(between):]
	if n := leadingDigits(chunk); n == 0 || n != len(chunk) {
		return Route{}
	}
	return Route{Action: a, Style: Short, Name: begin, ID: rest[:id], Chunk: chunk}
}

func leadingDigits(text []byte) (n int) {
	for n < len(text) && '0' <= text[n] && text[n] <= '9' {
		n++
	}
	return n
}

func hasPrefix(topic []byte, begin string) bool {
	return len(topic) >= len(begin) && string(topic[:len(begin)]) == begin
}

// ParseRequestID reads the id of a request: a decimal number of 32 bits, as devices choose it.
func ParseRequestID(text []byte) (id int32, ok bool) {
	digits, sign := text, 1
	if len(digits) > 0 && digits[0] == '-' {
		digits, sign = digits[1:], -1
	}
	if len(digits) == 0 || len(digits) > 10 || leadingDigits(digits) != len(digits) {
		return 0, false
	}
	n := 0
	for _, d := range digits {
		n = n*10 + int(d-'0')
	}
	n *= sign
	return int32(n), n == int(int32(n))
}
