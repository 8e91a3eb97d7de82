package broker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sluice-iot/sluice/bus/topics"
)

// janitor deletes what owners have handled, and what is too old or too much of all other topics. An idle broker
// costs it one look at three counters per interval.
type janitor struct {
	broker   *Broker
	line     *line
	group    string
	interval time.Duration
	// trimAfter is how many bytes topics that are not owned may grow by until they are trimmed.
	trimAfter int64
	log       *slog.Logger

	deleted          map[string]map[int32]int64 // up to which offset, by owned partition
	written, commits int64                      // the counters at the last look
	tails            int64
}

func newJanitor(b *Broker, config Config, options Options) *janitor {
	j := &janitor{
		broker: b, line: newLine(b.addr), group: options.Group,
		interval: config.CleanInterval, trimAfter: max(1, config.TailBytes/4), log: options.Log,
		deleted: map[string]map[int32]int64{}, written: -1, // a look at the start finds what an earlier process left
	}
	if j.log == nil {
		j.log = slog.New(slog.DiscardHandler)
	}
	return j
}

func (j *janitor) run(ctx context.Context) {
	defer func() {
		if err := j.line.close(); err != nil {
			j.log.Warn("close the janitor's connection", "err", err)
		}
	}()
	ticker := time.NewTicker(j.interval)
	defer ticker.Stop()
	for {
		if err := j.clean(ctx); err != nil && ctx.Err() == nil {
			j.log.Warn("delete handled messages", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// clean makes one round, if anything happened since the last.
func (j *janitor) clean(ctx context.Context) error {
	b := j.broker.backlog
	if tails := b.tails.Load(); tails-j.tails >= j.trimAfter {
		j.broker.cluster.ApplyRetention()
		j.tails = tails
	}
	written, commits := b.written.Load(), b.commits.Load()
	if written == j.written && commits == j.commits {
		return nil
	}
	if err := j.deleteHandled(ctx); err != nil {
		return err
	}
	if err := j.measure(ctx); err != nil {
		return err
	}
	j.written, j.commits = written, commits
	return nil
}

// deleteHandled deletes what lies below the committed offsets, but never a partition's last
// record: after a crash the broker takes the next offset from the records it finds, and an empty partition
// would start at 0 again, below what is committed.
func (j *janitor) deleteHandled(ctx context.Context) error {
	committed, err := j.committed(ctx)
	if err != nil || len(committed) == 0 {
		return err
	}
	ends, err := j.ends(ctx, committed)
	if err != nil {
		return err
	}
	return j.delete(ctx, func(yield func(place, int64) bool) {
		for at, offset := range committed {
			end, known := ends[at]
			if to := min(offset, end-1); known && to > j.deleted[at.topic][at.partition] && !yield(at, to) {
				return
			}
		}
	})
}

// place is a partition of a topic.
type place struct {
	topic     string
	partition int32
}

// committed is up to where owned partitions have been handled.
func (j *janitor) committed(ctx context.Context) (map[place]int64, error) {
	question, answer := kmsg.NewPtrOffsetFetchRequest(), kmsg.NewPtrOffsetFetchResponse()
	question.Version, question.Group = 5, j.group // of all topics
	err := j.line.ask(ctx, question, answer)
	if err == nil {
		err = kerr.ErrorForCode(answer.ErrorCode)
	}
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil, nil // nobody has committed anything yet
	}
	if err != nil {
		return nil, fmt.Errorf("read committed offsets: %w", err)
	}
	found := map[place]int64{}
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			if topics.Owned(t.Topic) && p.ErrorCode == 0 && p.Offset >= 0 {
				found[place{t.Topic, p.Partition}] = p.Offset
			}
		}
	}
	return found, nil
}

// ends is the next offset of each of the partitions.
func (j *janitor) ends(ctx context.Context, of map[place]int64) (map[place]int64, error) {
	question, answer := kmsg.NewPtrListOffsetsRequest(), kmsg.NewPtrListOffsetsResponse()
	question.Version, question.ReplicaID = 4, -1
	byTopic := map[string][]kmsg.ListOffsetsRequestTopicPartition{}
	for at := range of {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = at.partition, -1 // the end
		byTopic[at.topic] = append(byTopic[at.topic], p)
	}
	for name, partitions := range byTopic {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic, t.Partitions = name, partitions
		question.Topics = append(question.Topics, t)
	}
	if err := j.line.ask(ctx, question, answer); err != nil {
		return nil, fmt.Errorf("list end offsets: %w", err)
	}
	found := map[place]int64{}
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 {
				found[place{t.Topic, p.Partition}] = p.Offset
			}
		}
	}
	return found, nil
}

// delete deletes what lies below the offsets of partitions.
func (j *janitor) delete(ctx context.Context, below iter.Seq2[place, int64]) error {
	question, answer := kmsg.NewPtrDeleteRecordsRequest(), kmsg.NewPtrDeleteRecordsResponse()
	question.Version = 1
	byTopic := map[string][]kmsg.DeleteRecordsRequestTopicPartition{}
	for at, to := range below {
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Partition, p.Offset = at.partition, to
		byTopic[at.topic] = append(byTopic[at.topic], p)
	}
	if len(byTopic) == 0 {
		return nil
	}
	for name, partitions := range byTopic {
		t := kmsg.NewDeleteRecordsRequestTopic()
		t.Topic, t.Partitions = name, partitions
		question.Topics = append(question.Topics, t)
	}
	if err := j.line.ask(ctx, question, answer); err != nil {
		return fmt.Errorf("delete records: %w", err)
	}
	var failed []error
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				failed = append(failed, fmt.Errorf("delete records of %s/%d: %w", t.Topic, p.Partition, err))
				continue
			}
			j.note(t.Topic, p.Partition, p.LowWatermark)
		}
	}
	return errors.Join(failed...)
}

func (j *janitor) note(topic string, partition int32, to int64) {
	if j.deleted[topic] == nil {
		j.deleted[topic] = map[int32]int64{}
	}
	j.deleted[topic][partition] = to
}

// measure tells the backlog how much owned topics hold.
func (j *janitor) measure(ctx context.Context) error {
	b := j.broker.backlog
	written := b.written.Load()
	question, answer := kmsg.NewPtrDescribeLogDirsRequest(), kmsg.NewPtrDescribeLogDirsResponse()
	question.Version, question.Topics = 1, nil // all of them
	if err := j.line.ask(ctx, question, answer); err != nil {
		return fmt.Errorf("measure topics: %w", err)
	}
	held := int64(0)
	for _, dir := range answer.Dirs {
		for _, t := range dir.Topics {
			for _, p := range t.Partitions {
				if topics.Owned(t.Topic) {
					held += p.Size
				}
			}
		}
	}
	b.measured.Store(held)
	b.since.Store(written)
	return nil
}
