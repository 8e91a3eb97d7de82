package system

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestWhatBecameOfAReading asks, as operators do, for a reading that was stored, by the device's name and by its id.
func TestWhatBecameOfAReading(t *testing.T) {
	ctx, platform, tenant := startPlatform(t)
	name, token := unique("traced"), unique("token")
	id, err := tenant.NewDevice(ctx, name, token)
	if err != nil {
		t.Fatal(err)
	}
	if err := tenant.call(ctx, http.MethodPost, "/api/v1/"+token+"/telemetry", map[string]int{"n": 1}, nil); err != nil {
		t.Fatal(err)
	}
	for _, device := range []string{name, id} {
		eventually(ctx, t, 15*time.Second, func() error {
			told, err := platform.Operate(ctx, "trace", "--device", device)
			if err == nil && !(strings.Contains(told, "POST_TELEMETRY_REQUEST  PROCESSED") && strings.Contains(told, "Save Timeseries")) {
				err = fmt.Errorf("told: %s", told)
			}
			return err
		})
	}
	if told, err := platform.Operate(ctx, "trace", "--device", unique("nobody")); err == nil || !strings.Contains(err.Error()+told, "no such device") {
		t.Errorf("a device that is not there: %v, %s", err, told)
	}
}
