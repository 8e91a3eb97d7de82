package coaptransport

import (
	"strings"
	"sync/atomic"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
)

// option is one option of a request.
type option struct {
	number packet.Option
	value  []byte
}

func path(segments ...string) []option {
	var all []option
	for _, s := range segments {
		all = append(all, option{packet.URIPath, []byte(s)})
	}
	return all
}

func query(name string, values []string) option {
	return option{packet.URIQuery, []byte(name + "=" + strings.Join(values, ","))}
}

func number(o packet.Option, n uint32) option {
	encoded := packet.AppendUint(nil, 0, o, n)
	return option{o, encoded[len(packet.AppendOption(nil, 0, o, nil)):]}
}

// nextID makes each request's message id its own.
var nextID atomic.Uint32

var testToken = []byte{0xca, 0xfe}

func confirmable(code packet.Code, options []option, payload []byte) []byte {
	return message(packet.Confirmable, code, options, payload)
}

// message is a request with a message id of its own. Options are given in ascending order.
func message(kind packet.Type, code packet.Code, options []option, payload []byte) []byte {
	d := packet.AppendHeader(nil, kind, code, uint16(nextID.Add(1)), testToken)
	var last packet.Option
	for _, o := range options {
		d = packet.AppendOption(d, last, o.number, o.value)
		last = o.number
	}
	return packet.AppendPayload(d, payload)
}
