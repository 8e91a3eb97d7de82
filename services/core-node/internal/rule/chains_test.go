package rule

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// shelf has one chain, which is every tenant's root.
type shelf struct{ chain entity.RuleChain }

func (s *shelf) RootChain(context.Context, ident.TenantID) (entity.RuleChain, error) {
	return s.chain, nil
}

func (s *shelf) Chain(context.Context, ident.TenantID, ident.ID) (entity.RuleChain, error) {
	return s.chain, nil
}

func (s *shelf) Profile(context.Context, ident.TenantID, ident.ID) (entity.Profile, error) {
	return entity.Profile{}, storage.ErrNotFound
}

func TestAChainIsCompiledOncePerVersion(t *testing.T) {
	started := 0
	kinds := []Kind{{Class: "pass", Relations: []Relation{Success}, Default: json.RawMessage(`{}`), New: func(json.RawMessage, Services) (Node, error) {
		started++
		return pass{}, nil
	}}, {Class: "later"}}
	s := &shelf{entity.RuleChain{ID: ident.ID{1}, Version: 1, Metadata: chainOf(a, "", "")}}
	chains := NewChains(s, s, NewCompiler(kinds, Services{}))
	now, tenant := time.Unix(1, 0), ident.TenantID{ID: ident.ID{2}}
	find := func(tenant ident.TenantID) *Chain {
		t.Helper()
		first, err := chains.For(t.Context(), now, tenant, ident.ID{3})
		if err != nil {
			t.Fatal(err)
		}
		second, err := chains.ByID(t.Context(), now, tenant, s.chain.ID)
		if err != nil {
			t.Fatal(err)
		}
		if first.ID != second.ID || len(first.Broken()) == 0 && first != second {
			t.Error("two routes lead to two chains")
		}
		return first
	}
	first := find(tenant)
	now = now.Add(2 * chainLife)
	if again := find(tenant); again != first || started != 1 {
		t.Errorf("a chain that did not change is compiled %d times", started)
	}
	s.chain.Version = 2
	chains.Forget(tenant)
	if changed := find(tenant); changed == first || started != 2 {
		t.Errorf("after a change it was compiled %d times", started)
	}
	if other := find(ident.TenantID{ID: ident.ID{4}}); other.Tenant.ID != (ident.ID{4}) {
		t.Errorf("another tenant is given the chain of %v", other.Tenant)
	}
	s.chain.Version, s.chain.Metadata = 3, chainOf(`{"type":"later","name":"Later"}`, "", "")
	chains.ForgetAll()
	before := find(tenant)
	now = now.Add(2 * chainLife)
	if find(tenant) == before {
		t.Error("a chain that cannot run is not tried again")
	}
}
