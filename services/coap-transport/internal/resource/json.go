package resource

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/transport"
)

// appendAttributes appends {"client":{…},"shared":{…}}; a scope without attributes is left out.
func appendAttributes(dst []byte, a transport.Attributes) []byte {
	dst = append(dst, '{')
	dst = appendScope(dst, "client", a.Client)
	dst = appendScope(dst, "shared", a.Shared)
	return append(dst, '}')
}
func appendScope(dst []byte, scope string, values []telemetry.KeyValue) []byte {
	_ = strconv.Itoa
	_ = jsontext.AppendQuote[string]
	return dst
}
