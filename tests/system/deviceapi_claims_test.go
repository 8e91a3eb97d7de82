package system

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// deviceClaims are the cases in which a device offers itself and a customer's user takes it (device-api §1.10, §8.3).
func deviceClaims(t *testing.T, a *deviceAPI) {
	user := a.customerUser(t)
	t.Run("M71 without a secret", func(t *testing.T) {
		offered := a.offered(t, ``)
		offered.taken(t, user, map[string]any{"secretKey": ""})
	})
	t.Run("M72 with a secret, of which the user has a wrong one", func(t *testing.T) {
		offered := a.offered(t, `{"secretKey":"s3cret","durationMs":600000}`)
		for _, wrong := range []any{map[string]any{"secretKey": "S3cret"}, map[string]any{"secretKey": ""}, map[string]any{}} {
			offered.refused(t, user, wrong)
		}
		offered.taken(t, user, map[string]any{"secretKey": "s3cret"})
	})
	t.Run("M72 at a device that offers itself to nobody", func(t *testing.T) {
		id, _, name := a.claimable(t)
		(&offeredDevice{a, id, name}).refused(t, user, map[string]any{"secretKey": ""})
	})
}

// customerUser is a user of a customer of the tenant, both new.
func (a *deviceAPI) customerUser(t *testing.T) *Tenant {
	t.Helper()
	var customer struct{ ID ref }
	a.rest(t, http.MethodPost, "/api/customer", map[string]any{"title": unique("customer")}, &customer)
	user, err := a.tenant.NewUser(t.Context(), map[string]any{
		"email": unique("user") + "@example.org", "authority": "CUSTOMER_USER", "customerId": customer.ID,
	})
	if err != nil {
		t.Fatal(err)
	}
	return user
}

// offeredDevice is a device that a customer may take.
type offeredDevice struct {
	*deviceAPI
	id, name string
}

// claimable makes a device of which the name is known, too.
func (a *deviceAPI) claimable(t *testing.T) (id, token, name string) {
	t.Helper()
	id, token = a.device(t, "")
	var shown shownDevice
	a.rest(t, http.MethodGet, "/api/device/"+id, nil, &shown)
	return id, token, shown.Name
}

// offered makes a device that offers itself by MQTT. A device's messages are handled in order: once its leaving is known, so is the
// offer.
func (a *deviceAPI) offered(t *testing.T, offer string) *offeredDevice {
	t.Helper()
	id, token, name := a.claimable(t)
	client := mqttConnect(t, a.doors.MQTT, mqttHello{version: mqtt5, username: token})
	if reason := client.publish("v1/devices/me/claim", offer); reason != 0 {
		t.Fatalf("PUBACK %#x", reason)
	}
	client.leave()
	a.eventually(t, func() error {
		if at := a.attributes(t, id, "SERVER_SCOPE")["lastDisconnectTime"]; at == nil || at == json.Number("0") {
			return errors.New("the device has not left")
		}
		return nil
	})
	return &offeredDevice{a, id, name}
}

func (d *offeredDevice) claim(t *testing.T, user *Tenant, body any, answer any) error {
	t.Helper()
	return user.call(t.Context(), http.MethodPost, "/api/customer/device/"+url.PathEscape(d.name)+"/claim", body, answer)
}

// refused wants a claim to fail, and the device to stay nobody's.
func (d *offeredDevice) refused(t *testing.T, user *Tenant, body any) {
	t.Helper()
	if err := d.claim(t, user, body, nil); err == nil || !strings.HasSuffix(err.Error(), `: 400 "FAILURE"`) {
		t.Errorf("claiming with %v: %v", body, err)
	}
	if err := d.shownTo(t, user); err == nil {
		t.Errorf("after claiming with %v the device is the customer's", body)
	}
}

// taken wants a claim to succeed, and the device to be the customer's.
func (d *offeredDevice) taken(t *testing.T, user *Tenant, body any) {
	t.Helper()
	var answer struct {
		Device   struct{ ID ref }
		Response string
	}
	if err := d.claim(t, user, body, &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Response != "SUCCESS" || answer.Device.ID.ID != d.id {
		t.Errorf("claiming with %v: %+v", body, answer)
	}
	if err := d.shownTo(t, user); err != nil {
		t.Errorf("the device that was claimed: %v", err)
	}
	if err := d.claim(t, user, body, nil); err == nil || !strings.HasSuffix(err.Error(), `: 400 "CLAIMED"`) {
		t.Errorf("claiming it again: %v", err)
	}
}

// shownTo is nil when the user may see the device.
func (d *offeredDevice) shownTo(t *testing.T, user *Tenant) error {
	t.Helper()
	var shown shownDevice
	if err := user.call(t.Context(), http.MethodGet, "/api/device/"+d.id, nil, &shown); err != nil {
		return err
	}
	if shown.ID.ID != d.id {
		return fmt.Errorf("it is shown as %s", shown.ID.ID)
	}
	return nil
}
