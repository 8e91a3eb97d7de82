package architecture

import (
	"reflect"
	"testing"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/broker"
	"github.com/sluice-iot/sluice/process/settings"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/redis"
)

// TestDefaults holds the defaults of code that may not read tags to those of flags.
func TestDefaults(t *testing.T) {
	for _, written := range []any{bus.DefaultConfig(), broker.DefaultConfig(), transport.DefaultConfig(), redis.DefaultConfig()} {
		tagged := reflect.New(reflect.TypeOf(written))
		if err := settings.Defaults(tagged.Interface(), nil); err != nil {
			t.Fatal(err)
		}
		if want := tagged.Elem().Interface(); !reflect.DeepEqual(written, want) {
			t.Errorf("%T: DefaultConfig has %+v, the tags %+v", written, written, want)
		}
	}
}
