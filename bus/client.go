package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-iot/sluice/bus/internal/wire"
)

// Client is the bus as one process sees it. It is safe for concurrent use.
type Client struct {
	config  Config
	options Options
	log     *slog.Logger
	metrics *metrics
	dialer  *wire.Dialer
	start   time.Time // origin of the client's own monotonic clock

	// topics are those published to so far: copied on write, as every publish reads it.
	topics   atomic.Pointer[map[string]*topic]
	topicsMu sync.Mutex // held to change topics, and for:
	learning bool       // a look for unknown topics is under way
	closing  bool       // nothing more is taken on

	calls       calls
	inbox       inbox
	marks       marks
	tails       sync.Map // topic → its latest *tail
	coordinator *coordinator
	care        care

	// life ends when queues have been flushed, or the time for it is up.
	life    context.Context
	end     context.CancelFunc
	running sync.WaitGroup
	closed  sync.Once
	failure error
}

// clientName is what brokers see in front of the node's name.
const clientName = "sluice"

// Dial connects to the brokers, waiting for them at most the connect time-out, makes this process's reply topic
// and starts reading it. The caller must call Run or Close.
func Dial(ctx context.Context, config Config, options Options) (*Client, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("dial bus: %w", err)
	}
	c := &Client{
		config: config, options: options, log: options.log(), start: time.Now(),
		dialer: &wire.Dialer{Brokers: config.Brokers, ClientID: clientName + "-" + options.Node, Timeout: config.RequestTimeout, Dial: options.Dial, Prefix: config.TopicPrefix},
	}
	c.coordinator = newCoordinator(c.dialer, config.Group)
	c.metrics = newMetrics(options.Metrics)
	c.life, c.end = context.WithCancel(context.WithoutCancel(ctx))
	c.topics.Store(&map[string]*topic{})
	c.calls.open(config.PendingCalls)
	ctx, cancel := context.WithTimeout(ctx, config.ConnectTimeout)
	defer cancel()
	if err := c.open(ctx); err != nil {
		c.end()
		return nil, fmt.Errorf("dial bus: %w", err)
	}
	c.running.Go(c.watchDeadlines)
	c.running.Go(c.takeCare)
	return c, nil
}

// open learns the topics and opens the inbox, as often as it takes until ctx ends.
func (c *Client) open(ctx context.Context) error {
	pause := newBackoff()
	for {
		err := c.learn(ctx)
		if err == nil {
			err = c.openInbox(ctx)
		}
		if err == nil {
			return nil
		}
		if waitErr := pause.wait(ctx); waitErr != nil {
			return errors.Join(err, waitErr)
		}
	}
}

// Run blocks until ctx ends, then drains: nothing more is taken on, what was is flushed within the
// drain time-out, and the reply topic is deleted. It ends by itself with ErrTaken when an older live process has this one's node
// id, or a younger one after this one was halted for longer than the publish deadline; the reply topic is the other's then.
func (c *Client) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-c.life.Done():
	case <-c.inbox.presence.taken:
		return errors.Join(c.nameTaken(), c.Close())
	}
	return c.Close()
}

// Close drains and releases everything; a second call waits for the first and returns the same.
func (c *Client) Close() error {
	c.closed.Do(func() {
		c.inbox.presence.closing.Store(true)
		c.flush(c.config.DrainTimeout)
		c.end()
		c.running.Wait()
		c.failure = errors.Join(c.coordinator.close(), c.closeInbox())
	})
	return c.failure
}

// now returns the client's monotonic clock: nanoseconds since Dial.
func (c *Client) now() int64 { return int64(time.Since(c.start)) }

// Partitions implements Partitions.
func (c *Client) Partitions(ctx context.Context, name string) (int, error) {
	counts, err := c.dialer.Partitions(ctx, name)
	if err != nil {
		return 0, err
	}
	count, ok := counts[name]
	if !ok {
		return 0, fmt.Errorf("partitions of %s: %w", name, errUnknownTopic)
	}
	return count, nil
}

var errUnknownTopic = errors.New("no such topic")
