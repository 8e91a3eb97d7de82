package httpapi

import (
	"fmt"
	"net/http"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulechain"
)

// bundleBody is several exported chains (rule-engine reference §2.1).
type bundleBody struct {
	RuleChains []ruleChainBody `json:"ruleChains"`
	Metadata   []graphBody     `json:"metadata"`
}

// exportRuleChains refuses a bundle that would be too large to be imported again.
func (a *api) exportRuleChains(r *http.Request, p auth.Principal) (any, error) {
	limit, err := number(r, "limit")
	if err != nil {
		return nil, err
	}
	if limit < 1 || limit > int64(a.Settings.MaxPageSize) {
		return nil, invalid("limit", fmt.Sprintf("must be 1 to %d", a.Settings.MaxPageSize))
	}
	members, err := a.RuleChains.Export(r.Context(), p.Tenant, int(limit), int(a.Settings.MaxBody))
	if err != nil {
		return nil, err
	}
	bundle := bundleBody{RuleChains: []ruleChainBody{}, Metadata: []graphBody{}}
	for _, m := range members {
		bundle.RuleChains = append(bundle.RuleChains, entryView(m.ID, m.External, m.RuleChain))
		bundle.Metadata = append(bundle.Metadata, graphView(m.ID, m.Metadata))
	}
	return verbatim(bundle)
}

// outcomeBody is what became of one imported chain.
type outcomeBody struct {
	RuleChainID   *ref    `json:"ruleChainId"`
	RuleChainName string  `json:"ruleChainName"`
	Updated       bool    `json:"updated"`
	Error         *string `json:"error"`
}

func (a *api) importRuleChains(r *http.Request, p auth.Principal) (any, error) {
	overwrite, err := flagOr(r, "overwrite", false)
	if err != nil {
		return nil, err
	}
	var in struct {
		RuleChains []sentRuleChain
		Metadata   []sentGraph
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	members, err := matched(in.RuleChains, in.Metadata)
	if err != nil {
		return nil, err
	}
	outcomes, err := a.RuleChains.Import(r.Context(), p.Tenant, members, overwrite)
	if err != nil {
		return nil, err
	}
	views := make([]outcomeBody, len(outcomes))
	for i, o := range outcomes {
		views[i] = outcomeBody{RuleChainID: optional(ident.RuleChain, o.ID), RuleChainName: o.Name, Updated: o.Updated}
		if o.Err != nil {
			message := said(o.Err)
			views[i].Error = &message
		}
	}
	return views, nil
}

// matched finds the metadata of every chain, by its id.
func matched(chains []sentRuleChain, graphs []sentGraph) ([]rulechain.Member, error) {
	byID := make(map[ident.ID]rule.Graph, len(graphs))
	for i, g := range graphs {
		field := fmt.Sprintf("metadata[%d].ruleChainId", i)
		id, err := g.RuleChainID.id(field, ident.RuleChain)
		if err != nil {
			return nil, err
		}
		if _, twice := byID[id]; twice || id.IsZero() {
			return nil, invalid(field, "every chain has an id of its own")
		}
		byID[id] = g.Graph
	}
	members := make([]rulechain.Member, len(chains))
	for i := range chains {
		c := &chains[i]
		id, external, err := c.check()
		if err != nil {
			return nil, invalid(fmt.Sprintf("ruleChains[%d]", i), said(err))
		}
		g, found := byID[id]
		if !found {
			return nil, invalid(fmt.Sprintf("ruleChains[%d].id", i), "there is no metadata with this ruleChainId")
		}
		delete(byID, id)
		members[i] = rulechain.Member{ID: id, External: external, Document: rule.Document{RuleChain: c.ChainEntry, Metadata: g}}
	}
	if len(byID) > 0 {
		return nil, invalid("metadata", "there is metadata of chains that are not there")
	}
	return members, nil
}
