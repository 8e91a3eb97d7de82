package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/findcoordinator"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// layout is what the dialer has last been told about the cluster. It is believed until it proves wrong: a wrong leader
// refuses, and Forget is called.
type layout struct {
	mu           sync.Mutex
	brokers      []string            // every broker's address
	good         string              // the broker that answered last
	leaders      map[string][]string // by topic and partition; "" where none is known
	coordinators map[string]string   // by group
	looks        map[string]*look    // under way, by topic or group
}

// look is one question about the layout, shared by all who need the answer.
type look struct {
	done chan struct{}
	err  error
}

// Leader connects to the broker that leads a partition.
func (d *Dialer) Leader(ctx context.Context, topic string, partition int) (*Conn, error) {
	address, err := d.found(ctx, "topic "+topic,
		func() string { return at(d.layout.leaders[topic], partition) },
		func(ctx context.Context) error { return d.findLeaders(ctx, topic) })
	if err != nil {
		return nil, fmt.Errorf("find the leader of %s/%d: %w", topic, partition, err)
	}
	c, err := d.Connect(ctx, address)
	if err != nil {
		d.Forget(topic)
	}
	return c, err
}

func at(addresses []string, i int) string {
	if i < len(addresses) {
		return addresses[i]
	}
	return ""
}

// Forget drops what is known about a topic's leaders. Call it when the leader turns out to be none, or not to answer.
func (d *Dialer) Forget(topic string) {
	d.layout.mu.Lock()
	defer d.layout.mu.Unlock()
	delete(d.layout.leaders, topic)
}

// Coordinator connects to the broker that keeps a group's offsets.
func (d *Dialer) Coordinator(ctx context.Context, group string) (*Conn, error) {
	address, err := d.found(ctx, "group "+group,
		func() string { return d.layout.coordinators[group] },
		func(ctx context.Context) error { return d.findCoordinator(ctx, group) })
	if err != nil {
		return nil, fmt.Errorf("find the coordinator of group %s: %w", group, err)
	}
	c, err := d.Connect(ctx, address)
	if err != nil {
		d.ForgetCoordinator(group)
	}
	return c, err
}

// ForgetCoordinator drops what is known about a group's coordinator, as Forget does for a topic.
func (d *Dialer) ForgetCoordinator(group string) {
	d.layout.mu.Lock()
	defer d.layout.mu.Unlock()
	delete(d.layout.coordinators, group)
}

// found returns what known returns, after find when that is nothing. However many need the same, one finds it; when it
// fails all of them are told.
func (d *Dialer) found(ctx context.Context, name string, known func() string, find func(context.Context) error) (string, error) {
	l := &d.layout
	for {
		l.mu.Lock()
		if address := known(); address != "" {
			l.mu.Unlock()
			return address, nil
		}
		shared := l.looks[name]
		mine := shared == nil
		if mine {
			shared = &look{done: make(chan struct{})}
			if l.looks == nil {
				l.looks = map[string]*look{}
			}
			l.looks[name] = shared
		}
		l.mu.Unlock()
		if mine {
			shared.err = find(ctx)
			l.mu.Lock()
			delete(l.looks, name)
			address := known()
			l.mu.Unlock()
			close(shared.done)
			if shared.err == nil && address == "" {
				return "", kafka.LeaderNotAvailable
			}
			return address, shared.err
		}
		select {
		case <-shared.done:
		case <-ctx.Done():
			return "", ctx.Err()
		}
		l.mu.Lock()
		address := known()
		l.mu.Unlock()
		switch {
		case address != "":
			return address, nil
		case shared.err == nil:
			return "", kafka.LeaderNotAvailable
		case !errors.Is(shared.err, context.Canceled) && !errors.Is(shared.err, context.DeadlineExceeded):
			return "", shared.err
		} // the one who looked had less time than this one has
	}
}

// findLeaders asks who leads a topic's partitions.
func (d *Dialer) findLeaders(ctx context.Context, topic string) error {
	answer, err := d.metadata(ctx, []string{topic})
	if err != nil {
		return err
	}
	for _, t := range answer.Topics {
		if t.Name == topic && t.ErrorCode != 0 {
			return kafka.Error(t.ErrorCode)
		}
		if t.Name == topic {
			return nil
		}
	}
	return kafka.UnknownTopicOrPartition
}

// findCoordinator asks who keeps a group's offsets.
func (d *Dialer) findCoordinator(ctx context.Context, group string) error {
	answer, err := ask[*findcoordinator.Response](ctx, d.Any, &findcoordinator.Request{Key: group})
	if err != nil {
		d.doubt()
		return err
	}
	if answer.ErrorCode != 0 {
		return kafka.Error(answer.ErrorCode)
	}
	d.layout.mu.Lock()
	defer d.layout.mu.Unlock()
	if d.layout.coordinators == nil {
		d.layout.coordinators = map[string]string{}
	}
	d.layout.coordinators[group] = net.JoinHostPort(answer.Host, strconv.Itoa(int(answer.Port)))
	return nil
}

// metadata asks for the layout of the named topics, nil meaning all, and remembers it. The names it returns are without prefix.
func (d *Dialer) metadata(ctx context.Context, names []string) (*metadata.Response, error) {
	request := &metadata.Request{TopicNames: names}
	if names != nil {
		request.TopicNames = make([]string, len(names))
	}
	for i := range names {
		request.TopicNames[i] = d.Prefix + names[i]
	}
	answer, err := ask[*metadata.Response](ctx, d.Any, request)
	if err != nil {
		d.doubt()
		return nil, fmt.Errorf("read the cluster's layout: %w", err)
	}
	answer.Topics = slices.DeleteFunc(answer.Topics, func(t metadata.ResponseTopic) bool { return !strings.HasPrefix(t.Name, d.Prefix) })
	for i := range answer.Topics {
		answer.Topics[i].Name = strings.TrimPrefix(answer.Topics[i].Name, d.Prefix)
	}
	d.layout.remember(answer)
	return answer, nil
}

func (l *layout) remember(answer *metadata.Response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	addresses := make(map[int32]string, len(answer.Brokers))
	l.brokers = l.brokers[:0:0]
	for _, b := range answer.Brokers {
		addresses[b.NodeID] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
		l.brokers = append(l.brokers, addresses[b.NodeID])
	}
	if l.leaders == nil {
		l.leaders = map[string][]string{}
	}
	for _, t := range answer.Topics {
		if t.ErrorCode != 0 {
			delete(l.leaders, t.Name)
			continue
		}
		leaders := make([]string, len(t.Partitions))
		for _, p := range t.Partitions {
			usable := p.ErrorCode == 0 || kafka.Error(p.ErrorCode) == kafka.ReplicaNotAvailable
			if i := int(p.PartitionIndex); i >= 0 && i < len(leaders) && usable {
				leaders[i] = addresses[p.LeaderID]
			}
		}
		l.leaders[t.Name] = leaders
	}
}

// doubt makes the next question start at any broker again.
func (d *Dialer) doubt() {
	d.layout.mu.Lock()
	defer d.layout.mu.Unlock()
	d.layout.good = ""
}

// candidates returns every known broker's address, the one that answered last first.
func (d *Dialer) candidates() []string {
	d.layout.mu.Lock()
	defer d.layout.mu.Unlock()
	var all []string
	for _, address := range slices.Concat([]string{d.layout.good}, d.Brokers, d.layout.brokers) {
		if address != "" && !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	return all
}
