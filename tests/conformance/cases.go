// Package conformance keeps docs/reference/conformance.md: which acceptance case of the reference platform's behaviour is shown
// by which test. Tests are found by their names, which begin with the case's id.
package conformance

import (
	"fmt"
	"slices"
	"strings"
)

// span is cases numbered one after the other.
type span struct{ first, last int }

// series are the cases there are: a letter, and their numbers. Those of the device API are written with two digits at least.
type series struct {
	letter  string
	about   string
	device  bool
	numbers []span
}

var all = []series{
	{"A", "Rule chains: import and routing", false, []span{{1, 32}}},
	{"B", "Scripts", false, []span{{1, 28}}},
	{"C", "Hostile scripts", false, []span{{1, 31}}},
	{"E", "Script executors", false, []span{{1, 8}}},
	{"Q", "Queues", false, []span{{1, 14}}},
	{"M", "Devices: MQTT", true, []span{{1, 24}, {30, 58}, {60, 84}}},
	{"G", "Devices: gateways", true, []span{{1, 21}}},
	{"H", "Devices: HTTP", true, []span{{1, 23}}},
	{"C", "Devices: CoAP", true, []span{{1, 19}}},
	{"V", "Devices: values", true, []span{{1, 18}}},
}

// id names a case; two series have the letter C.
type id struct {
	device bool
	name   string
}

func (s series) ids() (ids []id) {
	format := "%s%d"
	if s.device {
		format = "%s%02d"
	}
	for _, span := range s.numbers {
		for n := span.first; n <= span.last; n++ {
			ids = append(ids, id{s.device, fmt.Sprintf(format, s.letter, n)})
		}
	}
	return ids
}

// idIn is the case that a name in the tests of a folder means.
func idIn(folder, name string) id {
	ofDevices := strings.Contains("MGHV", name[:1])
	if name[:1] == "C" {
		ofDevices = slices.ContainsFunc(protocols, func(p string) bool { return strings.HasPrefix(folder, p) })
	}
	return id{ofDevices, name}
}

// protocols are the folders whose tests are about devices.
var protocols = []string{"services/mqtt-transport", "services/http-transport", "services/coap-transport", "transport", "tests/system"}

// leftOut are the cases without a test, each with its reason.
var leftOut = map[id]string{
	{false, "Q14"}: "fates are counted per process and topic in metrics, with another sum: taken = processed + dead-lettered + refused + given back + in hand",
}
