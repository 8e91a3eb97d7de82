package corenode

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/services/core-node/internal/ring"
)

// cluster is what GET /cluster tells an operator of the whole fleet, asked of any node.
type cluster struct {
	Nodes      []ring.Node `json:"nodes"`
	Partitions []partition `json:"partitions"`
	// Trouble says what could not be found out, by whom it would have been told.
	Trouble map[string]string `json:"trouble,omitempty"`
}

// partition is one partition number of all owned topics.
type partition struct {
	ring.PartitionState
	// Waiting is how many records are not done with, by topic.
	Waiting map[string]int64 `json:"waiting"`
	// OldestMs is when the oldest of them was published, ms since the epoch; 0 when none waits.
	OldestMs int64 `json:"oldestMs,omitempty"`
	// RetentionUsed is the share of the topic's retention the oldest has used up: at 1 it is lost.
	RetentionUsed float64 `json:"retentionUsed,omitempty"`
}

// statusTimeout bounds what an operator waits for; a part that does not answer is told as trouble.
const statusTimeout = 5 * time.Second

// shared is a ring that other nodes take part in.
type shared interface {
	Status(ctx context.Context) (ring.Status, error)
}

// tellOfCluster lets operators ask.
func (s *Service) tellOfCluster(owned ring.Ring) {
	if s.env.Admin == nil {
		return
	}
	s.env.Admin.Handle("GET /cluster", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), statusTimeout)
		defer cancel()
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(s.cluster(ctx, owned)); err != nil {
			s.env.Log.Debug("answer /cluster", "err", err)
		}
	}))
}

func (s *Service) cluster(ctx context.Context, of ring.Ring) cluster {
	told := cluster{Nodes: []ring.Node{}, Partitions: []partition{}, Trouble: map[string]string{}}
	status, err := s.ringStatus(ctx, of)
	if err != nil {
		told.Trouble["ring"] = err.Error()
	}
	told.Nodes = append(told.Nodes, status.Nodes...)
	for _, state := range status.Partitions {
		told.Partitions = append(told.Partitions, partition{PartitionState: state, Waiting: map[string]int64{}})
	}
	owned := []string{topics.Core, topics.TransportRequests}
	for i := range s.queues {
		owned = append(owned, s.queues[i].Topic())
	}
	for _, topic := range owned {
		lags, err := s.bus.Lag(ctx, topic)
		if err != nil {
			told.Trouble["bus"] = err.Error()
			continue
		}
		told.add(topic, lags)
	}
	return told
}

// add notes what waits in a topic; partitions the ring could not tell of are told of all the same.
func (c *cluster) add(topic string, lags []bus.PartitionLag) {
	for _, lag := range lags {
		for len(c.Partitions) <= lag.Partition {
			c.Partitions = append(c.Partitions, partition{
				PartitionState: ring.PartitionState{Partition: len(c.Partitions)}, Waiting: map[string]int64{},
			})
		}
		p := &c.Partitions[lag.Partition]
		p.Waiting[topic] = lag.Waiting()
		p.RetentionUsed = max(p.RetentionUsed, lag.Used)
		if oldest := lag.Oldest.UnixMilli(); !lag.Oldest.IsZero() && (p.OldestMs == 0 || oldest < p.OldestMs) {
			p.OldestMs = oldest
		}
	}
}

func (s *Service) ringStatus(ctx context.Context, owned ring.Ring) (ring.Status, error) {
	if of, ok := owned.(shared); ok {
		return of.Status(ctx)
	}
	alone := ring.Status{Nodes: []ring.Node{{ID: s.config.NodeID, Addresses: s.addresses()}}}
	for p := range s.partitions {
		alone.Partitions = append(alone.Partitions, ring.PartitionState{Partition: p, Owner: s.config.NodeID, Epoch: 1, Wanted: s.config.NodeID})
	}
	return alone, nil
}

// addresses are where operators and people find this node.
func (s *Service) addresses() map[string]string {
	return map[string]string{"admin": s.env.AdminAddr, "http": s.Addr()}
}
