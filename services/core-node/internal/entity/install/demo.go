package install

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/password"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// noTenant is whom system administrators belong to.
var noTenant ident.TenantID

const demoTenant = "Tenant"

// demoUser is a demo account (rest-api §1.4).
type demoUser struct {
	email, password string
	authority       entity.Authority
	customer        string
}

func demoUsers() []demoUser {
	return []demoUser{
		{"tenant@thingsboard.org", "tenant", entity.TenantAdmin, ""},
		{"customer@thingsboard.org", "customer", entity.CustomerUser, "Customer A"},
		{"customerA@thingsboard.org", "customer", entity.CustomerUser, "Customer A"},
		{"customerB@thingsboard.org", "customer", entity.CustomerUser, "Customer B"},
		{"customerC@thingsboard.org", "customer", entity.CustomerUser, "Customer C"},
	}
}

// DemoDevice is a device of the demo tenant and the token it is known by.
type DemoDevice struct {
	Name, Token, Profile, Customer, Description string
}

// DemoDevices returns the devices Demo makes (rest-api §1.4).
func DemoDevices() []DemoDevice {
	return []DemoDevice{
		{"Test Device A1", "A1_TEST_TOKEN", "", "Customer A", ""},
		{"Test Device A2", "A2_TEST_TOKEN", "", "Customer A", ""},
		{"Test Device A3", "A3_TEST_TOKEN", "", "Customer A", ""},
		{"Test Device B1", "B1_TEST_TOKEN", "", "Customer B", ""},
		{"Test Device C1", "C1_TEST_TOKEN", "", "Customer C", ""},
		{"DHT11 Demo Device", "DHT11_DEMO_TOKEN", "", "", "Demo device that is used in sample applications that upload data from DHT11 sensors"},
		{"Raspberry Pi Demo Device", "RASPBERRY_PI_DEMO_TOKEN", "", "", "Demo device that is used in Raspberry Pi samples"},
		{"Thermostat T1", "T1_TEST_TOKEN", "thermostat", "", "Demo device for the thermostat samples"},
		{"Thermostat T2", "T2_TEST_TOKEN", "thermostat", "", "Demo device for the thermostat samples"},
	}
}

// Demo makes the demo accounts and devices, where they are missing; it may be called at every
// start. Their passwords and tokens are published: never on a machine others can reach.
func Demo(ctx context.Context, r *entity.Registry) error {
	if err := tenantProfile(ctx, r); err != nil {
		return err
	}
	admin := entity.User{Email: AdminEmail, Authority: entity.SysAdmin}
	if err := account(ctx, r, admin, password.HashPublished("sysadmin")); err != nil {
		return err
	}
	tenant, err := demoTenantID(ctx, r)
	if err != nil {
		return err
	}
	customers, err := demoCustomers(ctx, r, tenant)
	if err != nil {
		return err
	}
	for _, u := range demoUsers() {
		user := entity.User{Tenant: tenant, Customer: customers[u.customer], Email: u.email, Authority: u.authority}
		if err := account(ctx, r, user, password.HashPublished(u.password)); err != nil {
			return err
		}
	}
	for _, d := range DemoDevices() {
		if err := demoDevice(ctx, r, tenant, customers[d.Customer], d); err != nil {
			return err
		}
	}
	return nil
}

// demoTenantID returns the tenant the demo's administrator has, or else a tenant with the demo's title, or a new one.
func demoTenantID(ctx context.Context, r *entity.Registry) (ident.TenantID, error) {
	admin, _, err := r.Users.ByEmail(ctx, demoUsers()[0].email)
	if err == nil {
		return admin.Tenant, nil
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return ident.TenantID{}, wrap("look for the demo tenant's administrator", err)
	}
	found, err := r.Tenants.List(ctx, entity.PageRequest{Size: 100, Search: demoTenant})
	if err != nil {
		return ident.TenantID{}, wrap("look for the demo tenant", err)
	}
	for _, t := range found.Items {
		if t.Title == demoTenant {
			return t.ID, nil
		}
	}
	t, err := r.Tenants.Create(ctx, entity.Tenant{Title: demoTenant})
	return t.ID, wrap("create the demo tenant", err)
}

func demoCustomers(ctx context.Context, r *entity.Registry, tenant ident.TenantID) (map[string]ident.CustomerID, error) {
	ids := map[string]ident.CustomerID{}
	for _, title := range []string{"Customer A", "Customer B", "Customer C"} {
		c, err := r.Customers.ByTitle(ctx, tenant, title)
		if errors.Is(err, storage.ErrNotFound) {
			c, err = r.Customers.Create(ctx, entity.Customer{Tenant: tenant, Title: title})
		}
		if err != nil {
			return nil, wrap("create customer "+title, err)
		}
		ids[title] = c.ID
	}
	return ids, nil
}

func demoDevice(ctx context.Context, r *entity.Registry, tenant ident.TenantID, customer ident.CustomerID, d DemoDevice) error {
	device := entity.Device{Tenant: tenant, Customer: customer, Name: d.Name, Type: d.Profile}
	if d.Description != "" {
		info, err := json.Marshal(map[string]string{"description": d.Description})
		if err != nil {
			return wrap("describe device "+d.Name, err)
		}
		device.AdditionalInfo = info
	}
	_, err := r.Devices.Create(ctx, device, &entity.Credentials{Type: entity.AccessToken, CredentialsID: d.Token})
	if errors.Is(err, storage.ErrTaken) {
		return nil
	}
	return wrap("create device "+d.Name, err)
}
