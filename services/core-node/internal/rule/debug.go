package rule

import (
	"strings"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
)

// debug is what of a node's messages is to be told of.
type debug struct {
	on, failures, all bool
	until             int64 // ms; 0: without end
}

func (n *NodeEntry) debug() debug {
	d := debug{all: n.DebugMode}
	if s := n.DebugSettings; s != nil {
		d.failures, d.all, d.until = s.FailuresEnabled, d.all || s.AllEnabled || s.AllEnabledUntil > 0, s.AllEnabledUntil
	}
	d.on = d.all || d.failures
	return d
}

func (d debug) everything(now time.Time) bool {
	return d.all && (d.until == 0 || now.UnixMilli() < d.until)
}

// Debugged is a message on its way into a node, or out of it.
type Debugged struct {
	Tenant   ident.TenantID
	Chain    ident.ID
	Node     ident.ID
	Out      bool
	Message  *Message
	Relation Relation // by which it came in, if that is known, or goes out
	Err      error
}

func (e *Engine) debugIn(b branch) {
	if s := b.step(); s.debug.everything(e.now) {
		e.o.Debug(Debugged{Tenant: b.chain.Tenant, Chain: b.chain.ID, Node: s.id, Message: b.message})
	}
}

func (e *Engine) debugOut(b branch, out Emission) {
	s := b.step()
	if s.debug.everything(e.now) || s.debug.failures && out.Relation == Failure {
		e.o.Debug(Debugged{
			Tenant: b.chain.Tenant, Chain: b.chain.ID, Node: s.id, Out: true, Message: out.Message, Relation: out.Relation, Err: out.Err,
		})
	}
}

// relationKept is how much of a relation's name is kept: scripts may name anything.
const relationKept = 100

// note keeps that b entered its step, for whoever asks what became of the message.
func (e *Engine) note(b branch) int32 {
	f := b.flight
	if len(f.path) >= hopsKept {
		return none
	}
	f.path = append(f.path, Hop{Chain: b.chain, at: b.at, After: e.now.Sub(f.began)})
	return int32(len(f.path) - 1)
}

func (e *Engine) noteLeft(b branch, out Emission) {
	if b.hop == none {
		return
	}
	h := &b.flight.path[b.hop]
	if h.Relation == "" {
		h.Relation = out.Relation
		if len(h.Relation) > relationKept {
			h.Relation = Relation(strings.Clone(string(h.Relation[:relationKept])))
		}
	}
	if h.err == nil {
		h.err = out.Err
	}
}
