package bus

import (
	"context"
	"time"

	"github.com/sluice-iot/sluice/bus/internal/wire"
)

// sweepLooks is how many times in a row a reply topic is found unchanged before it is deleted. Readers give a sign of life
// between any two looks.
const sweepLooks = 12

// SweepReplies deletes the reply topics that nobody reads, until ctx ends. Any number of processes may do so at once. Whoever
// reads a reply topic puts a sign of life into it again and again; a topic whose end has not moved for bus-reply-abandoned has no
// reader. No clock but this process's own is asked, and time during which the brokers could not be asked does not count.
// A reader that was cut off for so long makes its topic again.
func (c *Client) SweepReplies(ctx context.Context) {
	s := sweeper{client: c, still: map[string]stillness{}}
	ticker := time.NewTicker(max(c.config.ReplyAbandoned/sweepLooks, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.life.Done():
			return
		case <-ticker.C:
			if err := s.look(ctx); err != nil {
				clear(s.still) // readers may have been cut off, too
				if ctx.Err() == nil {
					c.log.Warn("look for reply topics nobody reads", "err", err)
				}
			}
		}
	}
}

type sweeper struct {
	client *Client
	still  map[string]stillness // one per reply topic there is
}

// stillness is for how many looks a topic's end has stayed where it is.
type stillness struct {
	end   int64
	looks int
}

func (s *sweeper) look(ctx context.Context) error {
	d := s.client.dialer
	counts, err := d.Partitions(ctx)
	if err != nil {
		return err
	}
	var names []string
	for name := range counts {
		if isReply(name) && name != s.client.inbox.topic {
			names = append(names, name)
		}
	}
	ends, err := d.Ends(ctx, wire.Latest, names...)
	if err != nil {
		return err
	}
	for name := range s.still {
		if _, there := ends[name]; !there {
			delete(s.still, name)
		}
	}
	var abandoned []string
	for name, offsets := range ends {
		now := stillness{end: offsets[0]}
		if before, known := s.still[name]; known && before.end == now.end {
			now.looks = before.looks + 1
		}
		s.still[name] = now
		if now.looks >= sweepLooks {
			abandoned = append(abandoned, name)
		}
	}
	return s.sweep(ctx, abandoned)
}

// sweep deletes topics.
func (s *sweeper) sweep(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	if err := s.client.dialer.Delete(ctx, names...); err != nil {
		return err
	}
	for _, name := range names {
		delete(s.still, name)
		s.client.dialer.Forget(name)
		s.client.log.Info("deleted a reply topic that nobody reads", "topic", name)
	}
	s.client.metrics.swept.Add(float64(len(names)))
	return nil
}
