package topic

const gatewayBegin = "v1/gateway/"

// gatewayTopics are what gateways publish to (device-api §2.1), by action.
var gatewayTopics = [...]string{
	GatewayConnect:          "v1/gateway/connect",
	GatewayDisconnect:       "v1/gateway/disconnect",
	GatewayTelemetry:        "v1/gateway/telemetry",
	GatewayAttributes:       "v1/gateway/attributes",
	GatewayAttributeRequest: "v1/gateway/attributes/request",
	GatewayReplyRPC:         "v1/gateway/rpc",
	GatewayClaim:            "v1/gateway/claim",
}

// Topics to a gateway.
const (
	GatewayUpdates         = "v1/gateway/attributes"
	GatewayAttributeAnswer = "v1/gateway/attributes/response"
	GatewayRPC             = "v1/gateway/rpc"
	GatewayNotice          = "v1/gateway/disconnect"
)

func findGateway(topic []byte) Route {
	for a := GatewayConnect; int(a) < len(gatewayTopics); a++ {
		if string(topic) == gatewayTopics[a] {
			return Route{Action: a, Name: gatewayTopics[a]}
		}
	}
	return Route{Action: Gateway}
}
