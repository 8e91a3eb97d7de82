package entity_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
)

func names(page entity.Page[entity.Device]) string {
	var names []string
	for _, d := range page.Items {
		names = append(names, d.Name)
	}
	return strings.Join(names, " ")
}

// fill makes five devices; by id they are in the order of their making.
func fill(t *testing.T, p platform) (customer ident.CustomerID) {
	t.Helper()
	customer = p.newCustomer(t, "c")
	for _, d := range []entity.Device{
		{Name: "pump-2", Label: "Basement", Type: "pump", Customer: customer},
		{Name: "Pump-1", Label: "roof", Type: "pump"},
		{Name: "valve", Label: "roof", Type: "valve", Customer: customer},
		{Name: "äther", Label: "", Type: "valve"},
		{Name: "zero", Label: "roof"},
	} {
		p.newDevice(t, d)
	}
	return customer
}

func TestDeviceLists(t *testing.T) {
	p := start(t)
	customer := fill(t, p)
	pump, err := p.DeviceProfiles.ByName(t.Context(), p.tenant, "pump")
	if err != nil {
		t.Fatal(err)
	}
	valve, err := p.Devices.ByName(t.Context(), p.tenant, "valve")
	if err != nil {
		t.Fatal(err)
	}
	only := func(id ident.DeviceID) bool { return id == valve.ID }
	for name, c := range map[string]struct {
		filter entity.DeviceFilter
		page   entity.PageRequest
		want   string
		total  int
	}{
		"all":                  {entity.DeviceFilter{}, entity.PageRequest{Size: 10}, "pump-2 Pump-1 valve äther zero", 5},
		"second page":          {entity.DeviceFilter{}, entity.PageRequest{Size: 2, Page: 1}, "valve äther", 5},
		"last page":            {entity.DeviceFilter{}, entity.PageRequest{Size: 2, Page: 2}, "zero", 5},
		"past the end":         {entity.DeviceFilter{}, entity.PageRequest{Size: 2, Page: 9}, "", 5},
		"far past the end":     {entity.DeviceFilter{}, entity.PageRequest{Size: 1 << 40, Page: 1 << 40}, "", 5},
		"newest first":         {entity.DeviceFilter{}, entity.PageRequest{Size: 2, Sort: "id", Descending: true}, "zero äther", 5},
		"by name":              {entity.DeviceFilter{}, entity.PageRequest{Size: 9, Sort: "name"}, "Pump-1 pump-2 valve zero äther", 5},
		"by label, then id":    {entity.DeviceFilter{}, entity.PageRequest{Size: 9, Sort: "label", Descending: true}, "Pump-1 valve zero pump-2 äther", 5},
		"by type":              {entity.DeviceFilter{}, entity.PageRequest{Size: 2, Sort: "type"}, "zero pump-2", 5},
		"by time":              {entity.DeviceFilter{}, entity.PageRequest{Size: 1, Sort: "createdTime"}, "pump-2", 5},
		"part of a name":       {entity.DeviceFilter{}, entity.PageRequest{Size: 9, Search: "PUMP"}, "pump-2 Pump-1", 2},
		"part of a label":      {entity.DeviceFilter{}, entity.PageRequest{Size: 1, Search: "ROO"}, "Pump-1", 3},
		"beyond ASCII":         {entity.DeviceFilter{}, entity.PageRequest{Size: 9, Search: "ÄTH"}, "äther", 1},
		"nothing found":        {entity.DeviceFilter{}, entity.PageRequest{Size: 9, Search: "%"}, "", 0},
		"of a type":            {entity.DeviceFilter{Type: "valve"}, entity.PageRequest{Size: 9}, "valve äther", 2},
		"of a profile":         {entity.DeviceFilter{Profile: pump.ID}, entity.PageRequest{Size: 9}, "pump-2 Pump-1", 2},
		"of a customer":        {entity.DeviceFilter{Customer: customer}, entity.PageRequest{Size: 9}, "pump-2 valve", 2},
		"of both":              {entity.DeviceFilter{Customer: customer, Type: "pump"}, entity.PageRequest{Size: 9}, "pump-2", 1},
		"what the caller says": {entity.DeviceFilter{Match: only}, entity.PageRequest{Size: 9}, "valve", 1},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := p.Devices.List(t.Context(), p.tenant, c.filter, c.page)
			if err != nil {
				t.Fatal(err)
			}
			if names(got) != c.want || got.Total != c.total {
				t.Errorf("%q of %d, want %q of %d", names(got), got.Total, c.want, c.total)
			}
		})
	}
	for _, page := range []entity.PageRequest{{}, {Size: -1}, {Size: 1, Page: -1}, {Size: 1, Sort: "name;drop"}, {Size: 1, Sort: "label "}} {
		_, err := p.Devices.List(t.Context(), p.tenant, entity.DeviceFilter{}, page)
		refused(t, err, fault.Invalid, nil)
	}
}

func TestListsFollowChanges(t *testing.T) {
	p := start(t)
	customer := fill(t, p)
	list := func(f entity.DeviceFilter) string {
		t.Helper()
		page, err := p.Devices.List(t.Context(), p.tenant, f, entity.PageRequest{Size: 100})
		if err != nil {
			t.Fatal(err)
		}
		return names(page)
	}
	list(entity.DeviceFilter{}) // loads it
	valve, err := p.Devices.ByName(t.Context(), p.tenant, "valve")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Devices.Unassign(t.Context(), p.tenant, valve.ID); err != nil {
		t.Fatal(err)
	}
	if got := list(entity.DeviceFilter{Customer: customer}); got != "pump-2" {
		t.Errorf("after unassigning: %q", got)
	}
	if err := p.Devices.Delete(t.Context(), p.tenant, valve.ID); err != nil {
		t.Fatal(err)
	}
	p.newDevice(t, entity.Device{Name: "new"})
	if got := list(entity.DeviceFilter{}); got != "pump-2 Pump-1 äther zero new" {
		t.Errorf("after deleting and creating: %q", got)
	}
	pump, err := p.DeviceProfiles.ByName(t.Context(), p.tenant, "pump")
	if err != nil {
		t.Fatal(err)
	}
	pump.Name = "engine"
	if _, err := p.DeviceProfiles.Update(t.Context(), pump); err != nil {
		t.Fatal(err)
	}
	if got := list(entity.DeviceFilter{Type: "engine"}); got != "pump-2 Pump-1" {
		t.Errorf("after renaming the profile: %q", got)
	}
}

func TestListsFollowOtherNodes(t *testing.T) {
	p := start(t)
	fill(t, p)
	here := entity.New(p.store, entity.Options{Events: &recorder{}})
	list := func() string {
		t.Helper()
		page, err := here.Devices.List(t.Context(), p.tenant, entity.DeviceFilter{}, entity.PageRequest{Size: 100})
		if err != nil {
			t.Fatal(err)
		}
		return names(page)
	}
	list()
	p.take()
	p.newDevice(t, entity.Device{Name: "new"})
	zero, err := p.Devices.ByName(t.Context(), p.tenant, "zero")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Devices.Delete(t.Context(), p.tenant, zero.ID); err != nil {
		t.Fatal(err)
	}
	if got := list(); got != "pump-2 Pump-1 valve äther" {
		// The index still names zero and not new; what is read of it is what is stored.
		t.Errorf("before the events: %q", got)
	}
	for _, e := range p.take() {
		if err := here.Observe(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if got := list(); got != "pump-2 Pump-1 valve äther new" {
		t.Errorf("after the events: %q", got)
	}
}

func TestTooLongListsArePagedFromTheStore(t *testing.T) {
	p := start(t)
	customer := fill(t, p)
	small := entity.New(p.store, entity.Options{Events: &recorder{}, IndexBytes: 700})
	for _, c := range []struct {
		page  entity.PageRequest
		want  string
		total int
	}{
		{entity.PageRequest{Size: 2}, "pump-2 Pump-1", 5},
		{entity.PageRequest{Size: 2, Page: 2}, "zero", 5},
		{entity.PageRequest{Size: 9, Search: "roof"}, "Pump-1 valve zero", 3},
		{entity.PageRequest{Size: 9, Page: 9}, "", 5},
	} {
		got, err := small.Devices.List(t.Context(), p.tenant, entity.DeviceFilter{}, c.page)
		if err != nil || names(got) != c.want || got.Total != c.total {
			t.Errorf("%+v: %q of %d, %v; want %q of %d", c.page, names(got), got.Total, err, c.want, c.total)
		}
	}
	got, err := small.Devices.List(t.Context(), p.tenant, entity.DeviceFilter{Customer: customer}, entity.PageRequest{Size: 9})
	if err != nil || names(got) != "pump-2 valve" {
		t.Errorf("of a customer: %q, %v", names(got), err)
	}
	for _, page := range []entity.PageRequest{{Size: 1, Sort: "name"}, {Size: 1, Descending: true}} {
		_, err := small.Devices.List(t.Context(), p.tenant, entity.DeviceFilter{}, page)
		refused(t, err, fault.Invalid, nil)
		if !strings.Contains(message(err), "too many") {
			t.Errorf("message is %q", message(err))
		}
	}
}

func TestListsOfManyTenantsStayWithinTheBound(t *testing.T) {
	p := start(t)
	tenants := []ident.TenantID{p.tenant, p.newTenant(t, "b"), p.newTenant(t, "c")}
	for _, tenant := range tenants {
		for i := range 4 {
			p.newDevice(t, entity.Device{Tenant: tenant, Name: fmt.Sprint("device ", i)})
		}
	}
	one := entity.New(p.store, entity.Options{Events: &recorder{}, IndexBytes: 1200}) // room for one tenant's list
	for range 3 {
		for _, tenant := range tenants {
			got, err := one.Devices.List(t.Context(), tenant, entity.DeviceFilter{}, entity.PageRequest{Size: 9, Sort: "name"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff("device 0 device 1 device 2 device 3", names(got)); diff != "" {
				t.Error(diff)
			}
		}
	}
}
