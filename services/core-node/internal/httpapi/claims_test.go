package httpapi_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/claim"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
	"github.com/sluice-iot/sluice/services/core-node/internal/password"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

const claimPath = "/api/customer/device/Free%20%2F%201/claim"

// free makes a device without a customer that offers itself.
func free(t *testing.T, p *httpapitest.Platform, secret string) entity.Device {
	t.Helper()
	tenant := p.Demo(t, "Test Device A1").Tenant
	d, err := p.Entities.Devices.Create(t.Context(), entity.Device{Tenant: tenant, Name: "Free / 1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Claims.Offer(t.Context(), tenant, d.ID, secret, time.Now(), time.Minute); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestClaiming(t *testing.T) {
	p := httpapitest.Start(t)
	customer, admin := p.Customer(t), p.Admin(t)
	d := free(t, p, "s")
	t.Run("M72 a wrong secret", func(t *testing.T) {
		if got := customer.Do("POST", claimPath, `{"secretKey":"wrong"}`).Expect(400); string(got.Body) != `"FAILURE"` {
			t.Errorf("answered %s", got.Body)
		}
	})
	customer.Do("POST", "/api/customer/device/Nobody/claim", nil).Expect(404)
	admin.Do("POST", claimPath, `{"secretKey":"s"}`).Expect(403)
	p.Changes.Take()
	var claimed struct {
		Device   struct{ ID, CustomerID struct{ ID string } }
		Response string
	}
	customer.Do("POST", claimPath, `{"secretKey":"s"}`).Expect(200).JSON(&claimed)
	if claimed.Response != "SUCCESS" || claimed.Device.ID.ID != d.ID.String() {
		t.Errorf("claimed %+v", claimed)
	}
	if told := p.Changes.Take(); len(told) != 1 || told[0].Kind != entity.EntityAssigned || told[0].Metadata["assignedCustomerId"] != claimed.Device.CustomerID.ID {
		t.Errorf("told %+v", told)
	}
	customer.Do("GET", "/api/device/"+d.ID.String(), nil).Expect(200)
	if got := customer.Do("POST", claimPath, `{"secretKey":"s"}`).Expect(400); string(got.Body) != `"CLAIMED"` {
		t.Errorf("the second time is answered %s", got.Body)
	}
	customer.Do("DELETE", claimPath, nil).Expect(200)
	customer.Do("GET", "/api/device/"+d.ID.String(), nil).Expect(403)
	if got := customer.Do("POST", claimPath, `{"secretKey":"s"}`).Expect(400); string(got.Body) != `"FAILURE"` {
		t.Errorf("an offer that was used is answered %s", got.Body)
	}
	customer.Do("DELETE", claimPath, nil).Expect(403)
	admin.Do("DELETE", claimPath, nil).Expect(200)
	t.Run("M71 without a secret", func(t *testing.T) {
		for _, body := range []any{nil, "{}", `{"secretKey":""}`, `{"secretKey":null}`} {
			if err := p.Claims.Offer(t.Context(), d.Tenant, d.ID, "", time.Now(), 0); err != nil {
				t.Fatal(err)
			}
			customer.Do("POST", claimPath, body).Expect(200)
			admin.Do("DELETE", claimPath, nil).Expect(200)
		}
	})
}

// TestClaimingByAttribute: the attribute goes with the claim, and comes back when the device is given up.
func TestClaimingByAttribute(t *testing.T) {
	p := httpapitest.Start(t, func(o *httpapitest.Options) { o.Claims.ByDefault = false })
	customer := p.Customer(t)
	d := free(t, p, "")
	allowed := func() bool {
		found, err := p.Store.Attributes(t.Context(), d.ID.Entity(), storage.Server, []string{claim.Attribute})
		if err != nil {
			t.Fatal(err)
		}
		return len(found) == 1 && found[0].Bool()
	}
	yes := []telemetry.KeyValue{{Key: claim.Attribute, Value: telemetry.OfBool(true)}}
	if err := p.Owner.SaveAttributes(t.Context(), d.Tenant, d.ID.Entity(), storage.Server, yes); err != nil {
		t.Fatal(err)
	}
	customer.Do("POST", claimPath, nil).Expect(200)
	if allowed() {
		t.Error("it may be claimed again")
	}
	customer.Do("DELETE", claimPath, nil).Expect(200)
	if !allowed() {
		t.Error("it may not be claimed again")
	}
}

func TestClaimingStaysInTheTenant(t *testing.T) {
	p := httpapitest.Start(t)
	free(t, p, "")
	_, stranger := p.Tenant(t, "Stranger", "stranger@example.org", "stranger-1")
	owned, err := p.Entities.Customers.Create(t.Context(), entity.Customer{Tenant: stranger.Tenant, Title: "C"})
	if err != nil {
		t.Fatal(err)
	}
	stranger.Email, stranger.Authority, stranger.Customer = "user@example.org", entity.CustomerUser, owned.ID
	if _, err := p.Entities.Users.CreateActive(t.Context(), stranger, password.HashPublished("user-1")); err != nil {
		t.Fatal(err)
	}
	user := p.Login(t, "user@example.org", "user-1")
	user.Do("POST", claimPath, nil).Expect(404)
	user.Do("DELETE", claimPath, nil).Expect(404)
	if got := user.Do("DELETE", claimPath, nil); strings.Contains(string(got.Body), "Free") {
		t.Errorf("answered %s", got.Body)
	}
}
