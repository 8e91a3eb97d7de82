// Package rulechain is the tenants' rule chains as people keep them: made, changed, validated, brought to the present version,
// exported and imported. What is stored is a rule.Document that compiles.
package rulechain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

// Chain is a stored chain with its document read. Every node has an id.
type Chain struct {
	entity.RuleChain
	Entry rule.ChainEntry // what the document says of the chain itself
	Graph rule.Graph
}

// First returns the id of the node that messages enter at; zero when the chain has no entry.
func (c Chain) First() ident.ID {
	first := c.Graph.FirstNodeIndex
	if first == nil || *first < 0 || *first >= len(c.Graph.Nodes) {
		return ident.ID{}
	}
	return c.Graph.Nodes[*first].ID.ID
}

// Options is what a Library works with. All but Saved are required.
type Options struct {
	Chains   *entity.RuleChainRegistry
	Compiler *rule.Compiler
	// MaxBytes is the largest document of one chain.
	MaxBytes int
	Now      func() time.Time
	// Saved is told of every chain that was made or changed, once it is stored; its error is told to whoever saved.
	Saved func(ctx context.Context, chain *rule.Chain) error
}

// Library keeps the tenants' rule chains. Errors carry a fault.Kind and a message fit for people: what is wrong with a chain
// is fault.Invalid and names the node and the field. Safe for concurrent use.
type Library struct{ Options }

// New returns a Library.
func New(o Options) *Library { return &Library{o} }

// Get returns one of the tenant's chains.
func (l *Library) Get(ctx context.Context, tenant ident.TenantID, id ident.ID) (Chain, error) {
	stored, err := l.Chains.Chain(ctx, tenant, id)
	if err != nil {
		return Chain{}, err
	}
	if err := l.saved(ctx, stored); err != nil {
		return Chain{}, err
	}
	return l.Read(stored)
}

// Read reads the document of a stored chain.
func (l *Library) Read(stored entity.RuleChain) (Chain, error) {
	var doc rule.Document
	if err := json.Unmarshal(stored.Metadata, &doc); err != nil {
		return Chain{}, fmt.Errorf("read rule chain %v: %w", stored.ID, err)
	}
	if err := l.Compiler.Upgrade(&doc.Metadata); err != nil {
		return Chain{}, fmt.Errorf("upgrade rule chain %v: %w", stored.ID, err)
	}
	doc.Metadata.Identify(stored.ID)
	return Chain{stored, doc.RuleChain, doc.Metadata}, nil
}

func (c Chain) document() rule.Document { return rule.Document{RuleChain: c.Entry, Metadata: c.Graph} }

// Create stores a chain without nodes. External is an id that people gave it elsewhere, or zero.
func (l *Library) Create(ctx context.Context, tenant ident.TenantID, entry rule.ChainEntry, external ident.ID) (Chain, error) {
	return l.add(ctx, tenant, ident.New(), rule.Document{RuleChain: entry}, external)
}

// CreateDefault stores a chain like the root chain of a new tenant.
func (l *Library) CreateDefault(ctx context.Context, tenant ident.TenantID, name string) (Chain, error) {
	var doc rule.Document
	if err := json.Unmarshal(entity.DefaultChain(), &doc); err != nil {
		return Chain{}, fmt.Errorf("read the default rule chain: %w", err)
	}
	doc.RuleChain.Name = name
	return l.add(ctx, tenant, ident.New(), doc, ident.ID{})
}

// add stores a document as a new chain of that id.
func (l *Library) add(ctx context.Context, tenant ident.TenantID, id ident.ID, doc rule.Document, external ident.ID) (Chain, error) {
	if err := checkEntry(&doc.RuleChain); err != nil {
		return Chain{}, err
	}
	if err := l.prepare(ctx, tenant, id, &doc, nil); err != nil {
		return Chain{}, err
	}
	body, err := encode(doc)
	if err != nil {
		return Chain{}, err
	}
	stored, err := l.Chains.Create(ctx, entity.RuleChain{
		ID: id, Tenant: tenant, Name: doc.RuleChain.Name, Type: doc.RuleChain.Type, External: external, Metadata: body,
	})
	if err != nil {
		return Chain{}, err
	}
	if err := l.saved(ctx, stored); err != nil {
		return Chain{}, err
	}
	return l.Read(stored)
}

// Change saves what is said of a chain itself; its nodes, and its type, stay. Version 0 overwrites.
func (l *Library) Change(ctx context.Context, tenant ident.TenantID, id ident.ID, version int64, entry rule.ChainEntry) (Chain, error) {
	if err := checkEntry(&entry); err != nil {
		return Chain{}, err
	}
	stored, err := l.Chains.Change(ctx, tenant, id, version, func(c *entity.RuleChain) error {
		before, err := l.Read(*c)
		if err != nil {
			return err
		}
		entry.Type = before.Entry.Type
		before.Entry = entry
		c.Name = entry.Name
		c.Metadata, err = encode(before.document())
		return err
	})
	if err != nil {
		return Chain{}, err
	}
	if err := l.saved(ctx, stored); err != nil {
		return Chain{}, err
	}
	return l.Read(stored)
}

// checkEntry completes an entry.
func checkEntry(entry *rule.ChainEntry) error {
	switch entry.Type {
	case "":
		entry.Type = entity.CoreChain
	case entity.CoreChain, "EDGE":
	default:
		return fault.New(fault.Invalid, fmt.Sprintf("type: %q is neither CORE nor EDGE", entry.Type))
	}
	if entry.Name == "" {
		return fault.New(fault.Invalid, "Rule chain name should be specified!")
	}
	return nil
}

// compile refuses a document that does not compile.
func (l *Library) compile(tenant ident.TenantID, id ident.ID, doc rule.Document) error {
	body, err := encode(doc)
	if err != nil {
		return err
	}
	if len(body) > l.MaxBytes {
		return fault.New(fault.Invalid, fmt.Sprintf("metadata: the rule chain has %d bytes, %d are allowed", len(body), l.MaxBytes))
	}
	if _, err = l.Compiler.Compile(tenant, id, body); err == nil {
		return nil
	}
	if cause := errors.Unwrap(err); cause != nil {
		return fault.Wrap(fault.KindOf(err), cause.Error(), err)
	}
	return err
}

// saved tells of a stored chain.
func (l *Library) saved(ctx context.Context, stored entity.RuleChain) error {
	if l.Saved == nil {
		return nil
	}
	chain, err := l.Compiler.Compile(stored.Tenant, stored.ID, stored.Metadata)
	if err != nil {
		return err
	}
	if err := l.Saved(ctx, chain); err != nil {
		return fault.Wrap(fault.Unavailable, "tell of the rule chain, which is stored", err)
	}
	return nil
}

// encode writes a document, leaving what came as JSON as it is.
func encode(doc rule.Document) (json.RawMessage, error) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(doc); err != nil {
		return nil, fault.Wrap(fault.Invalid, "Rule chain cannot be written", err)
	}
	return bytes.TrimSuffix(body.Bytes(), []byte("\n")), nil
}
