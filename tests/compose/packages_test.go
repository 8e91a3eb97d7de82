//go:build compose

package compose

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/sluice-iot/sluice/tests/system"
)

// packages has a firmware uploaded while there are several core nodes. The function it returns downloads it as its device does, a few
// times: any core node may have taken the upload, and any may be asked.
func packages(ctx context.Context, t *testing.T, f *Fleet, tenant *system.Tenant) (download func(*testing.T)) {
	t.Helper()
	device, err := tenant.NewDevice(ctx, "updated", "UPDATED0TOKEN")
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 300_000)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	firmware, err := tenant.NewFirmware(ctx, device, "engine", data)
	if err != nil {
		t.Fatal(err)
	}
	if err := tenant.AssignFirmware(ctx, device, firmware); err != nil {
		t.Fatal(err)
	}
	return func(t *testing.T) {
		for range 4 {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet,
				"http://"+f.HTTP+"/api/v1/UPDATED0TOKEN/firmware?title=engine&version="+system.FirmwareVersion, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || response.StatusCode != http.StatusOK || !bytes.Equal(got, data) {
				t.Fatalf("%s, %d bytes of %d: %v", response.Status, len(got), len(data), err)
			}
		}
	}
}
