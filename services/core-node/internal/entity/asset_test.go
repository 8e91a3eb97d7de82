package entity_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

func (p platform) newAsset(t *testing.T, a entity.Asset) entity.Asset {
	t.Helper()
	if a.Tenant.IsZero() {
		a.Tenant = p.tenant
	}
	created, err := p.Assets.Create(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return created
}

func TestAssetsLive(t *testing.T) {
	p := start(t)
	want := p.newAsset(t, entity.Asset{Name: "House", Type: "building", Label: "Our house", AdditionalInfo: json.RawMessage(`{"floors":2}`)})
	if want.Type != "building" || want.Version != 1 || want.CreatedTime != now().UnixMilli() {
		t.Errorf("created %+v", want)
	}
	if plain := p.newAsset(t, entity.Asset{Name: "Thing"}); plain.Type != "default" {
		t.Errorf("type of an asset without one: %q", plain.Type)
	}
	got, err := p.Assets.ByName(t.Context(), p.tenant, "House")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-created +read):\n%s", diff)
	}
	if _, err := p.Assets.Create(t.Context(), entity.Asset{Tenant: p.tenant, Name: "House"}); fault.KindOf(err) != fault.Invalid || !errors.Is(err, storage.ErrTaken) {
		t.Errorf("a name twice: %v", err)
	}
	other := p.newTenant(t, "Other")
	p.newAsset(t, entity.Asset{Tenant: other, Name: "House"})
	if _, err := p.Assets.Get(t.Context(), other, want.ID); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("another tenant reads it: %v", err)
	}
	got.Name, got.Version = "Villa", 0
	if got, err = p.Assets.Update(t.Context(), got); err != nil || got.Version != 2 {
		t.Errorf("renamed: %+v, %v", got, err)
	}
	got.Version = 1
	if _, err := p.Assets.Update(t.Context(), got); fault.KindOf(err) != fault.Conflict {
		t.Errorf("an old version: %v", err)
	}
	if err := p.Assets.Delete(t.Context(), p.tenant, want.ID); err != nil {
		t.Fatal(err)
	}
	if err := p.Assets.Delete(t.Context(), p.tenant, want.ID); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
}

func TestAssetsBelongToCustomers(t *testing.T) {
	p := start(t)
	c, err := p.Customers.Create(t.Context(), entity.Customer{Tenant: p.tenant, Title: "C"})
	if err != nil {
		t.Fatal(err)
	}
	a := p.newAsset(t, entity.Asset{Name: "A"})
	for range 2 {
		if a, err = p.Assets.Assign(t.Context(), p.tenant, a.ID, c.ID); err != nil || a.Customer != c.ID {
			t.Fatalf("assigned: %+v, %v", a, err)
		}
	}
	mine, err := p.Assets.List(t.Context(), p.tenant, entity.AssetFilter{Customer: c.ID}, entity.PageRequest{Size: 10})
	if err != nil || mine.Total != 1 {
		t.Errorf("the customer has %d, %v", mine.Total, err)
	}
	if a, err = p.Assets.Unassign(t.Context(), p.tenant, a.ID); err != nil || !a.Customer.IsZero() {
		t.Errorf("unassigned: %+v, %v", a, err)
	}
	if _, err = p.Assets.Unassign(t.Context(), p.tenant, a.ID); fault.KindOf(err) != fault.Invalid {
		t.Errorf("unassigned twice: %v", err)
	}
	if _, err = p.Assets.Assign(t.Context(), p.tenant, a.ID, c.ID); err != nil {
		t.Fatal(err)
	}
	if err := p.Customers.Delete(t.Context(), p.tenant, c.ID); err != nil {
		t.Fatal(err)
	}
	if a, err = p.Assets.Get(t.Context(), p.tenant, a.ID); err != nil || !a.Customer.IsZero() {
		t.Errorf("after its customer went: %+v, %v", a, err)
	}
	var told []string
	for _, change := range p.changes {
		told = append(told, change.Originator.Type.String()+" "+change.Kind)
	}
	want := []string{
		"CUSTOMER ENTITY_CREATED", "ASSET ENTITY_CREATED", "ASSET ENTITY_ASSIGNED", "ASSET ENTITY_UNASSIGNED", "ASSET ENTITY_ASSIGNED", "CUSTOMER ENTITY_DELETED",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("rule chains are told (-want +got):\n%s", diff)
	}
}

func TestAssetListsSearchNameLabelAndType(t *testing.T) {
	p := start(t)
	for _, a := range []entity.Asset{{Name: "one", Label: "x", Type: "house"}, {Name: "two", Label: "HOUSEBOAT"}, {Name: "warehouse"}, {Name: "four"}} {
		p.newAsset(t, a)
	}
	found, err := p.Assets.List(t.Context(), p.tenant, entity.AssetFilter{}, entity.PageRequest{Size: 10, Search: "house", Sort: "name"})
	if err != nil || found.Total != 3 || found.Items[0].Name != "one" {
		t.Errorf("found %+v, %v", found, err)
	}
	found, err = p.Assets.List(t.Context(), p.tenant, entity.AssetFilter{Type: "house"}, entity.PageRequest{Size: 10})
	if err != nil || found.Total != 1 {
		t.Errorf("of a type: %+v, %v", found, err)
	}
}

func TestAssetProfiles(t *testing.T) {
	p := start(t)
	ctx := t.Context()
	first, err := p.AssetProfiles.Default(ctx, p.tenant)
	if err != nil || first.Name != "default" {
		t.Fatalf("the default is %+v, %v", first, err)
	}
	house := p.newAsset(t, entity.Asset{Name: "House", Type: "building"})
	if err := p.AssetProfiles.Delete(ctx, p.tenant, house.Profile); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a profile in use is deleted: %v", err)
	}
	renamed, err := p.AssetProfiles.Update(ctx, entity.AssetProfile{ID: house.Profile, Tenant: p.tenant, Name: "property"})
	if err != nil {
		t.Fatal(err)
	}
	if house, err = p.Assets.Get(ctx, p.tenant, house.ID); err != nil || house.Type != "property" {
		t.Errorf("its asset is of type %q, %v", house.Type, err)
	}
	if second, err := p.AssetProfiles.SetDefault(ctx, p.tenant, renamed.ID); err != nil || !second.IsDefault {
		t.Errorf("set default: %+v, %v", second, err)
	}
	if is, err := p.AssetProfiles.Default(ctx, p.tenant); err != nil || is.ID != renamed.ID {
		t.Errorf("the default is %+v, %v", is, err)
	}
	if err := p.AssetProfiles.Delete(ctx, p.tenant, renamed.ID); fault.KindOf(err) != fault.Invalid {
		t.Errorf("the default profile is deleted: %v", err)
	}
	if err := p.AssetProfiles.Delete(ctx, p.tenant, first.ID); err != nil {
		t.Errorf("a profile nobody has: %v", err)
	}
	if _, err := p.AssetProfiles.Create(ctx, entity.AssetProfile{Tenant: p.tenant, Name: "property"}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a name twice: %v", err)
	}
}

// TestATenantOlderThanAssetProfilesGetsOne: tenants that were made before there were any.
func TestATenantOlderThanAssetProfilesGetsOne(t *testing.T) {
	p := start(t)
	old := ident.TenantID{ID: ident.New()}
	for range 2 {
		if is, err := p.AssetProfiles.Default(t.Context(), old); err != nil || is.Name != "default" || !is.IsDefault {
			t.Errorf("the default is %+v, %v", is, err)
		}
	}
}

func TestChangesNameWhoMadeThem(t *testing.T) {
	p := start(t)
	user, node := ident.New(), ident.New()
	ctx := entity.WithActor(t.Context(), entity.Actor{User: user, UserName: "me@example.org", UserEmail: "me@example.org"})
	a, err := p.Assets.Create(ctx, entity.Asset{Tenant: p.tenant, Name: "A", Label: "L"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Assets.Delete(entity.WithActor(t.Context(), entity.Actor{RuleNode: node}), p.tenant, a.ID); err != nil {
		t.Fatal(err)
	}
	created, deleted := p.changes[0], p.changes[1]
	want := map[string]string{
		"entityName": "A", "entityType": "ASSET", "userId": user.String(), "userName": "me@example.org", "userEmail": "me@example.org",
	}
	if diff := cmp.Diff(want, created.Metadata); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	if deleted.Metadata["ruleNodeId"] != node.String() || deleted.Metadata["userId"] != "" {
		t.Errorf("metadata of a rule node's change is %v", deleted.Metadata)
	}
	var shown struct {
		ID          struct{ EntityType, ID string }
		Name, Label string
	}
	if err := json.Unmarshal([]byte(created.Data), &shown); err != nil || shown.ID.EntityType != "ASSET" || shown.ID.ID != a.ID.String() || shown.Label != "L" {
		t.Errorf("data is %s, %v", created.Data, err)
	}
}
