package live

import (
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
)

const (
	// renewal is how often who watches says so again; forgotten is after how long without it the owner stops telling.
	renewal    = 60 * time.Second
	forgotten  = 3 * renewal
	sweepEvery = 10 * time.Second
	// messageBytes is about how large a message of updates becomes before the next one is begun.
	messageBytes = 256 << 10
)

// AudienceOptions is what an Audience works with. All are required but Lost.
type AudienceOptions struct {
	// Local hears of everything in this process, at once.
	Local *Hub
	Bus   bus.Publisher
	// Node is this node's own name: what it watches itself goes through Local.
	Node      string
	Partition int
	Epoch     int64
	// Most is how many watches of other nodes are kept; one is a node and an entity.
	Most int
	// Lost is called when updates were lost for a node.
	Lost func()
}

// Audience is who watches the entities of one owned partition: this process, and other nodes, which are told over the
// bus, one message for each node and batch saved. What it knows of other nodes is soft: they say it again. When the bus
// does not take what a node is to be told, the node is told nothing more but that: it reads the newest values instead.
// It belongs to the partition's goroutine.
type Audience struct {
	o        AudienceOptions
	entities map[ident.EntityID][]link
	nodes    map[string]*peer
	watches  int
	sweep    time.Time // of watches that were not renewed
}

// link is one node that watches one entity.
type link struct {
	node  *peer
	until int64 // ns since the epoch
}

// peer is another node.
type peer struct {
	name    string
	topic   string
	watches int
	pending sluicepb.LiveUpdates
	bytes   int
	// behind: something was lost, and the node has yet to be told so. Set by the bus's goroutines.
	behind atomic.Bool
	done   func(error)
}

// NewAudience returns an Audience that knows of no other node.
func NewAudience(o AudienceOptions) *Audience {
	return &Audience{o: o, entities: map[ident.EntityID][]link{}, nodes: map[string]*peer{}}
}

// Len is how many watches of other nodes are kept.
func (a *Audience) Len() int { return a.watches }

// Watch has node told of entities for a while. The answer names, by their places, those it was not told of before, and
// those there is no room for.
func (a *Audience) Watch(node string, entities []ident.EntityID, now time.Time) *sluicepb.Watching {
	answer := &sluicepb.Watching{Epoch: a.o.Epoch}
	if node == a.o.Node {
		return answer
	}
	p := a.nodes[node]
	if p == nil {
		p = a.peer(node)
	}
	until := now.Add(forgotten).UnixNano()
	for i, e := range entities {
		if l := a.find(e, p); l != nil {
			l.until = until
			continue
		}
		if a.watches >= a.o.Most {
			answer.Refused = append(answer.Refused, uint32(i))
			continue
		}
		answer.Begun = append(answer.Begun, uint32(i))
		a.entities[e] = append(a.entities[e], link{p, until})
		a.nodes[node] = p
		a.watches++
		p.watches++
	}
	return answer
}

func (a *Audience) peer(node string) *peer {
	p := &peer{name: node, topic: topics.CoreResponses + node}
	p.done = func(err error) {
		if err != nil {
			a.lose(p)
		}
	}
	return p
}

func (a *Audience) find(e ident.EntityID, p *peer) *link {
	links := a.entities[e]
	for i := range links {
		if links[i].node == p {
			return &links[i]
		}
	}
	return nil
}

// Unwatch ends Watch.
func (a *Audience) Unwatch(node string, entities []ident.EntityID) {
	p := a.nodes[node]
	if p == nil {
		return
	}
	for _, e := range entities {
		a.drop(e, func(l link) bool { return l.node == p })
	}
}

// drop ends the watches of e that are over.
func (a *Audience) drop(e ident.EntityID, over func(link) bool) {
	left := slices.DeleteFunc(a.entities[e], func(l link) bool {
		if !over(l) {
			return false
		}
		a.watches--
		if l.node.watches--; l.node.watches == 0 {
			delete(a.nodes, l.node.name)
		}
		return true
	})
	if len(left) == 0 {
		delete(a.entities, e)
	} else {
		a.entities[e] = left
	}
}

// Tend forgets watches that were not renewed, and tells nodes that lost updates so. It is called about once a second.
func (a *Audience) Tend(now time.Time) {
	for _, p := range a.nodes {
		if p.behind.Swap(false) {
			a.publish(p, &sluicepb.LiveUpdates{Partition: int32(a.o.Partition), Epoch: a.o.Epoch, Missed: true})
		}
	}
	if now.Before(a.sweep) {
		return
	}
	a.sweep = now.Add(sweepEvery)
	ns := now.UnixNano()
	for e := range a.entities {
		a.drop(e, func(l link) bool { return l.until < ns })
	}
}

// Watched implements telemetry.Audience.
func (a *Audience) Watched(e ident.EntityID) bool {
	return len(a.entities) != 0 && len(a.entities[e]) != 0 || a.o.Local.Watched(e)
}

// Publish implements Publisher.
func (a *Audience) Publish(updates []Update) {
	a.o.Local.Publish(updates)
	if len(a.entities) == 0 {
		return
	}
	for i := range updates {
		links := a.entities[updates[i].Entity]
		if len(links) == 0 {
			continue
		}
		wire, bytes := updates[i].wire()
		for _, l := range links {
			if l.node.behind.Load() {
				continue
			}
			l.node.pending.Updates = append(l.node.pending.Updates, wire)
			if l.node.bytes += bytes; l.node.bytes >= messageBytes {
				a.send(l.node)
			}
		}
	}
	for _, p := range a.nodes {
		if len(p.pending.Updates) > 0 {
			a.send(p)
		}
	}
}

func (a *Audience) send(p *peer) {
	p.pending.Partition, p.pending.Epoch = int32(a.o.Partition), a.o.Epoch
	a.publish(p, &p.pending)
	clear(p.pending.Updates)
	p.pending.Updates, p.bytes = p.pending.Updates[:0], 0
}

func (a *Audience) publish(p *peer, m *sluicepb.LiveUpdates) {
	value, err := proto.Marshal(m)
	if err == nil {
		err = a.o.Bus.Publish(bus.Message{Topic: p.topic, Value: value}, p.done)
	}
	if err != nil {
		a.lose(p)
	}
}

func (a *Audience) lose(p *peer) {
	p.behind.Store(true)
	if a.o.Lost != nil {
		a.o.Lost()
	}
}
