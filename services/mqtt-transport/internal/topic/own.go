package topic

import (
	"bytes"
	"strings"
)

// Names are a device profile's own topics (device-api §1.13). Telemetry and Attributes are filters that replace the
// standard long topics; Updates is one more filter for attribute updates. "" leaves it at the standard.
type Names struct{ Telemetry, Attributes, Updates string }

// Standard reports whether Find says the same as n.Find.
func (n *Names) Standard() bool {
	return own(n.Telemetry, Long) == "" && ownAttributes(n.Attributes) == ""
}

// own is name, or "" when that is what the standard says too.
func own(name string, s Style) string {
	if name == telemetryTopics[s] {
		return ""
	}
	return name
}

func ownAttributes(name string) string {
	if name == attributeTopics[Long] {
		return ""
	}
	return name
}

// Find returns what topic means to a device whose profile has these names: the attributes' is looked at first, then
// telemetry's, then the standard ones. What gateways say is never theirs.
func (n *Names) Find(topic []byte) Route {
	route := Find(topic)
	if route.Action.OfGateway() {
		return route
	}
	for _, name := range [...]struct {
		action Action
		filter string
	}{{Attributes, ownAttributes(n.Attributes)}, {Telemetry, own(n.Telemetry, Long)}} {
		switch {
		case name.filter == "":
		case Match(name.filter, topic):
			return Route{Action: name.action, Style: Long, Name: matched(name.filter, topic)}
		case route.Action == name.action && route.Style == Long:
			route = Route{} // it was replaced
		}
	}
	return route
}

// matched is topic, which filter matches.
func matched(filter string, topic []byte) string {
	if len(filter) == len(topic) && filter == string(topic) {
		return filter
	}
	return string(topic)
}

// UpdatesTopic is where attribute updates go that were subscribed to by n.Updates: a filter that is no topic means the standard one.
func (n *Names) UpdatesTopic() string {
	if n.Updates == "" || strings.ContainsAny(n.Updates, "+#") {
		return attributeTopics[Long]
	}
	return n.Updates
}

// FindFilter is FindFilter with the profile's own filter among them.
func (n *Names) FindFilter(text []byte) (f Filter, ok bool) {
	if f, ok = FindFilter(text); ok || n.Updates == "" || n.Updates != string(text) {
		return f, ok
	}
	return OwnUpdates, true
}

// Match reports whether topic matches filter (MQTT 5 §4.7). A filter that is none matches nothing.
func Match(filter string, topic []byte) bool {
	if hasPrefix(topic, "$") && !strings.HasPrefix(filter, "$") {
		return false // MQTT-4.7.2-1
	}
	for more := true; more; {
		level, rest, deeper := strings.Cut(filter, "/")
		if level == "#" {
			return !deeper
		}
		name, below, further := bytes.Cut(topic, []byte("/"))
		if level != "+" && level != string(name) {
			return false
		}
		if deeper != further {
			return rest == "#" && deeper // "a/#" matches "a" too
		}
		filter, topic, more = rest, below, deeper
	}
	return true
}
