// Package trace remembers what became of the latest messages: which nodes they ran through, by which relations,
// how long it took, what was stored, and how they ended. It is always on: what it costs is a copy of a few words per node.
package trace

import (
	"strings"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

// Fate is how a start of a message ended.
type Fate string

// The fates.
const (
	Processed  Fate = "PROCESSED"
	DeadLetter Fate = "DEAD_LETTER"
	Retried    Fate = "RETRIED"
)

// Settings bound what is remembered.
type Settings struct {
	Messages int `name:"trace-messages" help:"How many of a partition's latest messages can be asked about (sluice trace); 0 for none." default:"1024"`
	Failures int `name:"trace-failures" help:"How many of a partition's latest failed messages can be asked about." default:"256"`
}

// entry is one ended start. Its path is used again by the next one in its place.
type entry struct {
	tenant     ident.TenantID
	originator ident.EntityID
	id         ident.ID
	index      int
	kind       string
	at, took   int64 // µs
	attempts   int
	fate       Fate
	err        string
	where      string
	path       []rule.Hop
}

// Log is the latest messages of one partition. Safe for concurrent use.
type Log struct {
	settings Settings
	mu       sync.Mutex
	all      ring
	failures ring
}

type ring struct {
	entries []entry
	next    int
}

// NewLog returns an empty Log.
func NewLog(s Settings) *Log { return &Log{settings: s} }

// Note remembers how a start of f ended.
func (l *Log) Note(f *rule.Flight, fate Fate, now time.Time) {
	if l.settings.Messages <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.slot(l.settings.Messages).fill(f, fate, now)
	if fate != Processed && l.settings.Failures > 0 {
		l.failures.slot(l.settings.Failures).fill(f, fate, now)
	}
}

// slot returns the place for the next entry: a new one while there is room, else the oldest one's.
func (r *ring) slot(most int) *entry {
	if len(r.entries) < most {
		r.entries = append(r.entries, entry{})
		return &r.entries[len(r.entries)-1]
	}
	e := &r.entries[r.next]
	r.next = (r.next + 1) % most
	return e
}

func (e *entry) fill(f *rule.Flight, fate Fate, now time.Time) {
	m := &f.Message
	e.tenant, e.originator, e.id, e.index = m.Tenant, m.Originator, ident.ID(m.ID), m.Index
	// Types of uplinks are constants; any other may point into a record.
	if e.kind = m.Type; m.Type != rule.PostTelemetry && m.Type != rule.PostAttributes {
		e.kind = strings.Clone(m.Type)
	}
	e.at, e.took = f.Began().UnixMicro(), now.Sub(f.Began()).Microseconds()
	e.attempts, e.fate, e.err, e.where = f.Attempts, fate, "", ""
	if err := f.Err(); err != nil {
		e.err, e.where = err.Error(), f.Where()
	}
	clear(e.path)
	e.path = append(e.path[:0], f.Path()...)
}

// Message is one start of a message, as it is shown.
type Message struct {
	ID       ident.ID `json:"id"`
	Index    int      `json:"index"`
	Type     string   `json:"type"`
	At       int64    `json:"ts"`     // ms
	Took     float64  `json:"tookMs"` // until everything it caused was durable
	Attempts int      `json:"attempts"`
	Fate     Fate     `json:"fate"`
	Error    string   `json:"error,omitempty"`
	Where    string   `json:"where,omitempty"`
	Path     []Step   `json:"path"`
}

// Step is one node a message ran through.
type Step struct {
	Chain    string   `json:"ruleChain"`
	Node     string   `json:"ruleNode"`
	NodeID   ident.ID `json:"ruleNodeId"`
	Relation string   `json:"relation,omitempty"` // it left by; absent when nothing followed
	After    float64  `json:"afterMs"`            // entered, since the start
	Stored   int      `json:"stored,omitempty"`   // writes
	Error    string   `json:"error,omitempty"`
}

// Of returns the latest starts of messages of one originator, the newest first, at most limit; failures that are out of the
// latest messages included.
func (l *Log) Of(tenant ident.TenantID, originator ident.EntityID, limit int) []Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	type start struct {
		id       ident.ID
		index    int
		attempts int
		at       int64 // behind a queue a message goes on under the same id
	}
	seen := map[start]bool{}
	found := []Message{}
	for _, r := range []*ring{&l.all, &l.failures} {
		for i := range r.entries {
			e := &r.entries[(r.next+len(r.entries)-1-i)%len(r.entries)]
			key := start{e.id, e.index, e.attempts, e.at}
			if e.tenant != tenant || e.originator != originator || seen[key] || len(found) >= limit {
				continue
			}
			seen[key] = true
			found = append(found, e.message())
		}
	}
	return found
}

func (e *entry) message() Message {
	m := Message{
		ID: e.id, Index: e.index, Type: e.kind, At: e.at / 1000, Took: float64(e.took) / 1000, Attempts: e.attempts,
		Fate: e.fate, Error: e.err, Where: e.where, Path: make([]Step, len(e.path)),
	}
	for i := range e.path {
		h := &e.path[i]
		m.Path[i] = Step{
			Chain: h.Chain.Name, Node: h.Node(), NodeID: h.NodeID(), Relation: string(h.Relation),
			After: float64(h.After.Microseconds()) / 1000, Stored: h.Saved(),
		}
		if h.Err() != nil {
			m.Path[i].Error = h.Err().Error()
		}
	}
	return m
}
