package tryout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulechain"
)

// exported is a chain of a file.
type exported struct {
	rulechain.Member
	root bool
}

// exportedEntry is what a bundle says of a chain.
type exportedEntry struct {
	ID   rule.Reference `json:"id"`
	Root bool           `json:"root"`
	rule.ChainEntry
}

type exportedGraph struct {
	RuleChainID rule.Reference `json:"ruleChainId"`
	rule.Graph
}

// read reads a file: a single chain or a bundle. Errors name the place.
func read(file []byte) ([]exported, error) {
	file = bytes.TrimPrefix(file, []byte("\ufeff"))
	var in struct {
		RuleChain  *exportedEntry  `json:"ruleChain"`
		RuleChains []exportedEntry `json:"ruleChains"`
		Metadata   json.RawMessage `json:"metadata"`
	}
	if err := decode(file, &in); err != nil {
		return nil, err
	}
	switch {
	case in.RuleChain != nil && in.RuleChains != nil:
		return nil, errors.New("ruleChain and ruleChains: there is one or the other")
	case in.RuleChain == nil && in.RuleChains == nil:
		return nil, errors.New("ruleChain: this is no exported rule chain, and no bundle of them")
	case len(in.Metadata) == 0 || string(in.Metadata) == "null":
		return nil, errors.New("metadata: it is missing")
	case in.RuleChain != nil:
		var g rule.Graph
		if err := decode(in.Metadata, &g); err != nil {
			return nil, fmt.Errorf("metadata: %w", err)
		}
		return []exported{member(*in.RuleChain, ident.New(), g)}, nil
	}
	var graphs []exportedGraph
	if err := decode(in.Metadata, &graphs); err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	return matched(in.RuleChains, graphs)
}

func member(e exportedEntry, id ident.ID, g rule.Graph) exported {
	return exported{rulechain.Member{ID: id, Document: rule.Document{RuleChain: e.ChainEntry, Metadata: g}}, e.Root}
}

// matched finds the metadata of each chain of a bundle.
func matched(entries []exportedEntry, graphs []exportedGraph) ([]exported, error) {
	if len(entries) == 0 {
		return nil, errors.New("ruleChains: there are none")
	}
	byID := make(map[ident.ID]rule.Graph, len(graphs))
	for i, g := range graphs {
		if _, twice := byID[g.RuleChainID.ID]; twice || g.RuleChainID.ID.IsZero() {
			return nil, fmt.Errorf("metadata[%d].ruleChainId: every chain has an id of its own", i)
		}
		byID[g.RuleChainID.ID] = g.Graph
	}
	chains := make([]exported, len(entries))
	for i, e := range entries {
		g, found := byID[e.ID.ID]
		if !found {
			return nil, fmt.Errorf("ruleChains[%d].id: there is no metadata with this ruleChainId", i)
		}
		delete(byID, e.ID.ID)
		chains[i] = member(e, e.ID.ID, g)
	}
	if len(byID) > 0 {
		return nil, errors.New("metadata: there is some of chains that are not there")
	}
	return chains, nil
}

// decode reads JSON and names the line of what is wrong with it.
func decode(text []byte, into any) error {
	err := json.Unmarshal(text, into)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("line %d: %w", line(text, syntax.Offset), err)
	case errors.As(err, &kind):
		return fmt.Errorf("line %d: %s: a %s is not what is expected here", line(text, kind.Offset), kind.Field, kind.Value)
	}
	return err
}

func line(text []byte, offset int64) int {
	return 1 + bytes.Count(text[:min(int(offset), len(text))], []byte("\n"))
}
