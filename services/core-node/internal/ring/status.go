package ring

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Status is the ring as ZooKeeper has it.
type Status struct {
	Nodes      []Node           `json:"nodes"`
	Partitions []PartitionState `json:"partitions"`
}

// PartitionState is who has one partition.
type PartitionState struct {
	Partition int `json:"partition"`
	// Owner is the node that holds the lease; "" when none does.
	Owner string `json:"owner"`
	// Epoch is that of the last taking.
	Epoch int64 `json:"epoch"`
	// Wanted is the node it belongs to by the assignment; it differs from Owner while it moves.
	Wanted string `json:"wanted"`
}

var errAway = errors.New("no session with ZooKeeper")

// Status asks ZooKeeper until ctx ends. An error means that it could not be asked; the node goes on by what it knows.
func (z *ZooKeeper) Status(ctx context.Context) (Status, error) {
	z.mu.Lock()
	s := z.session
	z.mu.Unlock()
	if s == nil {
		return Status{}, errAway
	}
	names, err := s.conn.List(ctx, z.layout.nodes(), nil)
	if err != nil {
		return Status{}, fmt.Errorf("list the nodes: %w", err)
	}
	status := Status{Nodes: []Node{}}
	members := make([]string, 0, len(names))
	for _, name := range names {
		found, err := s.conn.Read(ctx, z.layout.node(name), nil)
		if errors.Is(err, errNoNode) {
			continue
		}
		if err != nil {
			return Status{}, fmt.Errorf("read node %s: %w", name, err)
		}
		node := Node{}
		if err := json.Unmarshal(found.data, &node); err != nil || node.ID != name {
			node = Node{ID: name} // somebody's by hand; it counts all the same
		}
		status.Nodes, members = append(status.Nodes, node), append(members, name)
	}
	owners := Assign(z.options.Partitions, members)
	for p := range z.options.Partitions {
		state := PartitionState{Partition: p}
		if p < len(owners) {
			state.Wanted = owners[p]
		}
		if err := z.readPartition(ctx, s, &state); err != nil {
			return Status{}, fmt.Errorf("read partition %d: %w", p, err)
		}
		status.Partitions = append(status.Partitions, state)
	}
	return status, nil
}

func (z *ZooKeeper) readPartition(ctx context.Context, s *session, state *PartitionState) error {
	for _, path := range [...]string{z.layout.lease(state.Partition), z.layout.epoch(state.Partition)} {
		found, err := s.conn.Read(ctx, path, nil)
		if errors.Is(err, errNoNode) {
			continue
		}
		if err != nil {
			return err
		}
		r, err := decodeRecord(found.data)
		if err != nil {
			return err
		}
		state.Epoch = r.Epoch
		if found.owner != 0 {
			state.Owner = r.Node
			return nil
		}
	}
	return nil
}
