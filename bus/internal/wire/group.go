package wire

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/consumer"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
	"github.com/segmentio/kafka-go/protocol/joingroup"
	"github.com/segmentio/kafka-go/protocol/leavegroup"
	"github.com/segmentio/kafka-go/protocol/syncgroup"
)

// newest is the newest version of a request that is used: kafka-go frames the later, flexible ones of groups in a way
// that brokers do not read. Every broker since 2.0 knows these.
func newest(key protocol.ApiKey) int16 {
	switch key {
	case protocol.JoinGroup:
		return 5
	case protocol.SyncGroup, protocol.Heartbeat:
		return 3
	case protocol.LeaveGroup:
		return 2
	default:
		return 1 << 14
	}
}

// Membership is as what somebody commits.
type Membership struct {
	Group      string
	Generation int32
	Member     string
}

// Join is a wish to be a member of a group that reads one topic.
type Join struct {
	Group, Topic string
	// Member is who asks; empty for one who was not a member before.
	Member string
	// Session is how long a member may be silent; Rebalance how long the others are waited for.
	Session, Rebalance time.Duration
}

// Joined is one generation of a group, as one member sees it. Others are all its members when this one has to share the partitions out.
type Joined struct {
	Membership
	Others []string
}

// protocolName is what members of our groups agree on: contiguous ranges of partitions.
const protocolName = "range"

// consumerVersion of the texts members give one another.
const consumerVersion = 0

// Join waits until the group has gathered. c must lead to the group's coordinator.
func (c *Conn) Join(ctx context.Context, j Join) (Joined, error) {
	subscription, err := protocol.Marshal(consumerVersion, consumer.Subscription{Topics: []string{c.prefix + j.Topic}})
	if err != nil {
		return Joined{}, fmt.Errorf("join group: %w", err)
	}
	request := &joingroup.Request{
		GroupID: j.Group, MemberID: j.Member, ProtocolType: "consumer",
		SessionTimeoutMS: int32(j.Session.Milliseconds()), RebalanceTimeoutMS: int32(j.Rebalance.Milliseconds()),
		Protocols: []joingroup.RequestProtocol{{Name: protocolName, Metadata: subscription}},
	}
	for {
		answer, err := doLong[*joingroup.Response](ctx, c, j.Rebalance+c.timeout, request)
		if err != nil {
			return Joined{}, fmt.Errorf("join group: %w", err)
		}
		switch code := kafka.Error(answer.ErrorCode); {
		case code == kafka.MemberIDRequired && request.MemberID == "":
			request.MemberID = answer.MemberID // a broker's way to keep strangers from filling its memory
			continue
		case code != 0:
			return Joined{}, fmt.Errorf("join group: %w", code)
		}
		joined := Joined{Membership: Membership{Group: j.Group, Generation: answer.GenerationID, Member: answer.MemberID}}
		if answer.LeaderID == answer.MemberID {
			for _, m := range answer.Members {
				joined.Others = append(joined.Others, m.MemberID)
			}
		}
		return joined, nil
	}
}

// Share tells the group who reads what, when this member has to say it (shares is not nil), and returns what it reads itself.
func (c *Conn) Share(ctx context.Context, m Membership, topic string, within time.Duration, shares map[string][]int32) ([]int32, error) {
	request := &syncgroup.Request{GroupID: m.Group, GenerationID: m.Generation, MemberID: m.Member}
	for member, partitions := range shares {
		text, err := protocol.Marshal(consumerVersion, consumer.Assignment{
			AssignedPartitions: []consumer.TopicPartition{{Topic: c.prefix + topic, Partitions: partitions}},
		})
		if err != nil {
			return nil, fmt.Errorf("share out partitions: %w", err)
		}
		request.Assignments = append(request.Assignments, syncgroup.RequestAssignment{MemberID: member, Assignment: text})
	}
	answer, err := doLong[*syncgroup.Response](ctx, c, within+c.timeout, request)
	if err != nil {
		return nil, fmt.Errorf("share out partitions: %w", err)
	}
	if answer.ErrorCode != 0 {
		return nil, fmt.Errorf("share out partitions: %w", kafka.Error(answer.ErrorCode))
	}
	if len(answer.Assignments) == 0 {
		return nil, nil // more members than partitions
	}
	var assigned consumer.Assignment
	if err := protocol.Unmarshal(answer.Assignments, consumerVersion, &assigned); err != nil {
		return nil, fmt.Errorf("share out partitions: %w", err)
	}
	var own []int32
	for _, t := range assigned.AssignedPartitions {
		if t.Topic == c.prefix+topic {
			own = append(own, t.Partitions...)
		}
	}
	return own, nil
}

// Beat tells the group's coordinator that the member lives. kafka.RebalanceInProgress means that it has to join again.
func (c *Conn) Beat(ctx context.Context, m Membership) error {
	answer, err := do[*heartbeat.Response](ctx, c, &heartbeat.Request{GroupID: m.Group, GenerationID: m.Generation, MemberID: m.Member})
	if err == nil && answer.ErrorCode != 0 {
		err = kafka.Error(answer.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("heartbeat: %w", err)
	}
	return nil
}

// Leave ends a membership, so that the others need not wait for its session to end.
func (c *Conn) Leave(ctx context.Context, m Membership) error {
	answer, err := do[*leavegroup.Response](ctx, c, &leavegroup.Request{GroupID: m.Group, MemberID: m.Member, Members: []leavegroup.RequestMember{{MemberID: m.Member}}})
	if err == nil && answer.ErrorCode != 0 {
		err = kafka.Error(answer.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("leave group: %w", err)
	}
	return nil
}

// doLong is do for a request that brokers may hold.
func doLong[A any](ctx context.Context, c *Conn, within time.Duration, request protocol.Message) (answer A, err error) {
	message, err := c.doWithin(ctx, within, request)
	if err != nil {
		return answer, err
	}
	answer, ok := message.(A)
	if !ok {
		return answer, errors.New("unexpected answer")
	}
	return answer, nil
}
