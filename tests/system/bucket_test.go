//go:build fleet

package system

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/tests/parts/part"
)

// TestFirmwareInABucket has three core nodes keep firmware in S3 and nowhere else: it is uploaded at one, which stops, and read at the
// others and by its device over HTTP and MQTT.
func TestFirmwareInABucket(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	dir := t.TempDir()
	flags := bucketIn(ctx, t, dir)
	fleet := NewFleet(ctx, t, shared(t), FleetOptions{Flags: flags})
	if err := fleet.Start(ctx); err != nil {
		t.Fatal(err)
	}
	tenant := firstTenant(ctx, t, fleet)
	at := func(r *Role) *Tenant { return &Tenant{base: "http://" + r.Listen, token: tenant.token} }
	token := unique("bucket")
	device, err := tenant.NewDevice(ctx, token, token)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 9<<20) // an upload of two pieces
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	title := unique("engine")
	firmware, err := at(fleet.Core[0]).NewFirmware(ctx, device, title, data)
	if err == nil {
		err = tenant.AssignFirmware(ctx, device, firmware)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !keeps(t, dir, data) {
		t.Error("there is no object with the firmware")
	}
	if err := fleet.Core[0].stopClean(); err != nil {
		t.Fatal(err)
	}
	for _, r := range fleet.Core[1:] {
		var got string
		if err := at(r).call(ctx, http.MethodGet, "/api/otaPackage/"+firmware+"/download", nil, &got); err != nil || got != string(data) {
			t.Errorf("%s: %d bytes of %d: %v", r.Name, len(got), len(data), err)
		}
	}
	eventually(ctx, t, takeOver, func() error { return downloads(ctx, fleet.Doors().HTTP, token, title, data) })
	client := mqttConnect(t, fleet.Doors().MQTT, mqttHello{version: mqtt5, username: token})
	for _, chunk := range []int{0, 127, 128, 143} { // some on both sides of where the pieces meet
		client.publish(fmt.Sprintf("v2/fw/request/1/chunk/%d", chunk), "65536")
		if p := client.message(fmt.Sprintf("v2/fw/response/1/chunk/%d", chunk)); !bytes.Equal(p.payload, data[chunk<<16:(chunk+1)<<16]) {
			t.Errorf("MQTT: chunk %d has %d bytes, or others", chunk, len(p.payload))
		}
	}
}

// bucketIn starts an S3 with its data in dir, until the test ends, and returns the settings that lead to it.
func bucketIn(ctx context.Context, t *testing.T, dir string) (flags []string) {
	t.Helper()
	s3, err := part.NewS3(ctx, dir)
	if err == nil {
		t.Cleanup(s3.Kill)
		err = s3.Start(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	return []string{
		"--blob-s3-endpoint=http://" + s3.Address(), "--blob-s3-bucket=" + part.S3Bucket,
		"--blob-s3-key-id=" + part.S3KeyID, "--blob-s3-secret=" + part.S3Secret,
	}
}

// keeps reports whether a file below dir has the data.
func keeps(t *testing.T, dir string, data []byte) (found bool) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || found {
			return err
		}
		text, err := os.ReadFile(path)
		found = bytes.Equal(text, data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// downloads has a device download its firmware over HTTP.
func downloads(ctx context.Context, door, token, title string, want []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet,
		fmt.Sprintf("http://%s/api/v1/%s/firmware?title=%s&version=%s", door, token, title, FirmwareVersion), nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || !bytes.Equal(got, want) {
		return fmt.Errorf("HTTP: %s, %d bytes of %d: %w", response.Status, len(got), len(want), err)
	}
	return nil
}
