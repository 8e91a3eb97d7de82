package chaininput

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestTheConfiguredChainIsEntered(t *testing.T) {
	b := rulenodetest.New(t)
	chain := ident.New()
	in := b.Message("T", `{"a":1}`, map[string]string{"k": "v"})
	node := b.Node(Kind(), `{"ruleChainId":"`+chain.String()+`"}`)
	want := rulenodetest.Outcome{Emitted: []rulenodetest.Emitted{{
		Entered: chain, Type: "T", Data: `{"a":1}`, Metadata: map[string]string{"k": "v"}, Originator: in.Originator,
	}}}
	if diff := cmp.Diff(want, b.Process(node, in)); diff != "" {
		t.Error(diff)
	}
	if w, ok := node.(rule.Waiter); !ok || w.Waits() != rule.ForNothing {
		t.Error("it is waited for")
	}
}

func TestA18_TheChainOfTheProfileIsEntered(t *testing.T) {
	b := rulenodetest.New(t)
	entities := b.Platform()
	configured, root := ident.New(), rootOf(t, b, entities)
	with := profile(t, b, entities, "With", root)
	without := profile(t, b, entities, "Without", ident.ID{})
	site, err := entities.AssetProfiles.Create(t.Context(), entity.AssetProfile{Tenant: b.Services.Tenant, Name: "Site", DefaultRuleChain: root})
	if err != nil {
		t.Fatal(err)
	}
	asset, err := entities.Assets.Create(t.Context(), entity.Asset{Tenant: b.Services.Tenant, Name: "A", Profile: site.ID})
	if err != nil {
		t.Fatal(err)
	}
	node := b.Node(Kind(), `{"ruleChainId":"`+configured.String()+`","forwardMsgToDefaultRuleChain":true}`)
	for _, c := range []struct {
		name       string
		originator ident.EntityID
		profile    ident.ID
		want       ident.ID
	}{
		{"a device whose profile has one", device(t, b, entities, "D1", with), ident.ID{}, root},
		{"a message that knows its profile", device(t, b, entities, "D2", without), with, root},
		{"a device whose profile has none", device(t, b, entities, "D3", without), ident.ID{}, configured},
		{"a device that is no more", ident.EntityID{Type: ident.Device, ID: ident.ID{9}}, ident.ID{}, configured},
		{"an asset whose profile has one", asset.Entity(), ident.ID{}, root},
		{"the tenant", b.Services.Tenant.Entity(), ident.ID{}, configured},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := b.Message("T", `{}`, nil)
			in.Originator, in.Profile = c.originator, c.profile
			if out := b.Process(node, in).Emitted; len(out) != 1 || out[0].Entered != c.want {
				t.Errorf("%+v, want chain %s", out, c.want)
			}
		})
	}
	if _, ok := node.(rule.Waiter); ok || Kind().Waits != rule.ForStore {
		t.Error("it is not waited for")
	}
}

func TestA18_WithoutAnyChainTheMessageFails(t *testing.T) {
	b := rulenodetest.New(t)
	b.Platform()
	if why, failed := b.Process(b.Node(Kind(), `{"forwardMsgToDefaultRuleChain":true}`), b.Message("T", `{}`, nil)).Failed(); !failed || why != "no rule chain is chosen" {
		t.Errorf("failed %v with %q", failed, why)
	}
}

func rootOf(t *testing.T, b *rulenodetest.Bench, entities *entity.Registry) ident.ID {
	t.Helper()
	root, err := entities.RuleChains.RootChain(t.Context(), b.Services.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	return root.ID
}

func profile(t *testing.T, b *rulenodetest.Bench, entities *entity.Registry, name string, chain ident.ID) ident.ID {
	t.Helper()
	created, err := entities.DeviceProfiles.Create(t.Context(), entity.Profile{Tenant: b.Services.Tenant, Name: name, DefaultRuleChain: chain})
	if err != nil {
		t.Fatal(err)
	}
	return created.ID
}

func device(t *testing.T, b *rulenodetest.Bench, entities *entity.Registry, name string, profile ident.ID) ident.EntityID {
	t.Helper()
	created, err := entities.Devices.Create(t.Context(), entity.Device{Tenant: b.Services.Tenant, Name: name, Profile: profile}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return created.ID.Entity()
}

func TestConfigurationIsChecked(t *testing.T) {
	b := rulenodetest.New(t)
	for _, config := range []string{`{}`, `{"ruleChainId":null}`, `{"ruleChainId":""}`} {
		if _, err := b.New(Kind(), config); !errors.Is(err, rule.ErrNotStartable) || !strings.HasPrefix(err.Error(), "ruleChainId: ") {
			t.Errorf("%s: %v", config, err)
		}
	}
	if _, err := b.New(Kind(), `{"ruleChainId":"7"}`); err == nil || errors.Is(err, rule.ErrNotStartable) || !strings.HasPrefix(err.Error(), "ruleChainId: ") {
		t.Errorf("no id: %v", err)
	}
	if got, _ := rulenodetest.Upgrade(t, Kind(), 0, `{"ruleChainId":"x"}`); got != `{"forwardMsgToDefaultRuleChain":false,"ruleChainId":"x"}` {
		t.Errorf("it is upgraded to %s", got)
	}
}
