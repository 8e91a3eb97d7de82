package route

import (
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/services/coap-transport/internal/packet"
)

// FuzzParse: whatever the path and the query, a request is refused with a code of its class, or is one that can be served.
func FuzzParse(f *testing.F) {
	for _, path := range []string{
		"api/v1/T/telemetry", "api/v1/T/rpc/5", "api/v1/rpc/5", "api/v1/provision", "fw/T", "sw", "/api/v1/T/Attributes", "api/v1/T/rpc/-1", "api//v1",
	} {
		f.Add(path, "size=5&chunk=1", uint8(packet.Post), uint32(0), false)
		f.Add(path, "clientKeys=a,b&sharedKeys=", uint8(packet.Get), uint32(0), true)
	}
	f.Fuzz(func(t *testing.T, path, query string, method uint8, observe uint32, whole bool) {
		var options []byte
		var last packet.Option
		add := func(o packet.Option, value string) {
			options = packet.AppendOption(options, last, o, []byte(value))
			last = o
		}
		if whole {
			options = packet.AppendUint(options, last, packet.Observe, observe)
			last = packet.Observe
			add(packet.URIPath, path)
		} else {
			for _, segment := range strings.Split(path, "/") {
				add(packet.URIPath, segment)
			}
		}
		for _, item := range strings.Split(query, "&") {
			add(packet.URIQuery, item)
		}
		r := Parse(packet.Message{Code: packet.Code(method), Options: options})
		switch {
		case r.Action == Refused:
			if r.Code.Class() != 4 && r.Code.Class() != 5 {
				t.Errorf("refused with %s", r.Code)
			}
		case r.Size < 0 || r.Chunk < 0 || r.ID < 0 || r.Chunk*r.Size < 0:
			t.Errorf("%+v", r)
		case r.IsObserve() && !whole:
			t.Errorf("%s observes without being asked to", path)
		}
	})
}
