package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sluice-iot/sluice/bus/topics"
)

// janitor deletes what owners have handled, and what is too old or too much of all other topics. An idle broker
// costs it one look at three counters per interval.
type janitor struct {
	broker   *Broker
	client   *kgo.Client
	admin    *kadm.Client
	group    string
	interval time.Duration
	// trimAfter is how many bytes topics that are not owned may grow by until they are trimmed.
	trimAfter int64
	log       *slog.Logger

	deleted          map[string]map[int32]int64 // up to which offset, by owned partition
	written, commits int64                      // the counters at the last look
	tails            int64
}

func newJanitor(b *Broker, config Config, options Options) (*janitor, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.addr), kgo.ClientID("sluice-janitor"))
	if err != nil {
		return nil, fmt.Errorf("open the embedded broker's janitor: %w", err)
	}
	j := &janitor{
		broker: b, client: client, admin: kadm.NewClient(client), group: options.Group,
		interval: config.CleanInterval, trimAfter: max(1, config.TailBytes/4), log: options.Log,
		deleted: map[string]map[int32]int64{}, written: -1, // a look at the start finds what an earlier process left
	}
	if j.log == nil {
		j.log = slog.New(slog.DiscardHandler)
	}
	return j, nil
}

func (j *janitor) run(ctx context.Context) {
	defer j.client.Close()
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
	committed, err := j.admin.FetchOffsets(ctx, j.group)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil // nobody has committed anything yet
	}
	if err != nil {
		return fmt.Errorf("read committed offsets: %w", err)
	}
	var names []string
	for name := range committed {
		if topics.Owned(name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	ends, err := j.admin.ListEndOffsets(ctx, names...)
	if err != nil {
		return fmt.Errorf("list end offsets: %w", err)
	}
	handled := kadm.Offsets{}
	ends.Each(func(end kadm.ListedOffset) {
		offset, ok := committed.Lookup(end.Topic, end.Partition)
		if !ok || end.Err != nil || offset.Err != nil {
			return
		}
		if to := min(offset.At, end.Offset-1); to > j.deleted[end.Topic][end.Partition] {
			handled.Add(kadm.Offset{Topic: end.Topic, Partition: end.Partition, At: to})
		}
	})
	if len(handled) == 0 {
		return nil
	}
	answers, err := j.admin.DeleteRecords(ctx, handled)
	if err != nil {
		return fmt.Errorf("delete records: %w", err)
	}
	answers.Each(func(a kadm.DeleteRecordsResponse) {
		if a.Err == nil {
			j.note(a.Topic, a.Partition, a.LowWatermark)
		}
	})
	return answers.Error()
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
	dirs, err := j.admin.DescribeAllLogDirs(ctx, nil)
	if err != nil {
		return fmt.Errorf("measure topics: %w", err)
	}
	held := int64(0)
	dirs.Each(func(dir kadm.DescribedLogDir) {
		dir.Topics.Each(func(p kadm.DescribedLogDirPartition) {
			if topics.Owned(p.Topic) {
				held += p.Size
			}
		})
	})
	b.measured.Store(held)
	b.since.Store(written)
	return nil
}
