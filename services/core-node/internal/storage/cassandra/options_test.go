package cassandra

import (
	"reflect"
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/process/settings"
)

// TestDefaults holds the defaults of flags to those of code.
func TestDefaults(t *testing.T) {
	var flags Settings
	if err := settings.Defaults(&flags, nil); err != nil {
		t.Fatal(err)
	}
	if want := DefaultSettings(); !reflect.DeepEqual(flags, want) {
		t.Errorf("flags give %+v, code %+v", flags, want)
	}
}

func TestValidate(t *testing.T) {
	for name, bad := range map[string]Settings{
		"cassandra-keyspace":    {Keyspace: "x; drop"},
		"cassandra-consistency": {Consistency: "MOST"},
		"cassandra-replication": {Replication: "dc1:x"},
		"cassandra-in-flight":   {InFlight: -1},
		"cassandra-timeout":     {Timeout: 2 * maxTimeout},
		"cassandra-value-bytes": {ValueBytes: maxValueBytes + 1},
	} {
		if _, err := (Options{Settings: bad}).withDefaults().validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("--%s: %v", name, err)
		}
	}
	for given, want := range map[string]string{
		"3":           "{'class': 'NetworkTopologyStrategy', 'replication_factor': 3}",
		"dc1:3,dc2:2": "{'class': 'NetworkTopologyStrategy', 'dc1': 3, 'dc2': 2}",
	} {
		o := Options{Settings: Settings{Replication: given}}.withDefaults()
		if got, err := o.replication(); err != nil || got != want {
			t.Errorf("%s: %s, %v", given, got, err)
		}
	}
}
