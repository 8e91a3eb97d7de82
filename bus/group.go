package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/sluice-iot/sluice/bus/internal/wire"
)

// Group is who reads a topic together.
type Group struct {
	// Name is the group's; Topic what it reads.
	Name, Topic string
	// Session is how long a member may be silent before the others take its partitions over; Heartbeat how often it says that it lives.
	Session, Heartbeat time.Duration
}

// Member reads a topic together with others.
type Member interface {
	// Join reads group.Topic as one of the group until ctx ends. Whenever the group has gathered, work is called for each partition
	// that this member has to read, each in a goroutine of its own; it reads until its context ends, which it does when the
	// group gathers again, and returns promptly then; what it committed by then nobody reads again. The reader is closed by Join. An error
	// of work ends Join.
	//
	// While the group waits for a member that may be dead, which takes up to a session, the others go on with the partitions they
	// had; what they read then may be read again. Work must be harmless when done twice.
	Join(ctx context.Context, group Group, work func(ctx context.Context, r Reader) error) error
}

// Join implements Member.
func (c *Client) Join(ctx context.Context, group Group, work func(ctx context.Context, r Reader) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	m := &member{client: c, group: group, work: work, coordinator: newCoordinator(c.dialer, group.Name)}
	err := m.run(ctx)
	return errors.Join(err, m.leave(), m.coordinator.close())
}

// member is this process in one group.
type member struct {
	client      *Client
	group       Group
	work        func(ctx context.Context, r Reader) error
	coordinator *coordinator
	is          wire.Membership
}

// run lives through one generation after the other.
func (m *member) run(ctx context.Context) error {
	pause := newBackoff()
	var partitions []int32
	for {
		stop := m.meanwhile(ctx, partitions)
		gathered, err := m.gather(ctx, stop)
		stop()
		if err == nil {
			partitions = gathered
			pause.reset()
			err = m.generation(ctx, partitions)
		}
		var failed workError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &failed):
			return failed.error
		case err == nil:
			continue
		}
		m.forget(err)
		m.client.log.Debug("group", "group", m.group.Name, "err", err)
		if pause.wait(ctx) != nil {
			return nil
		}
	}
}

// forget drops a membership that the coordinator does not know.
func (m *member) forget(err error) {
	if code, refused := wire.Refused(err); refused && (code == kafka.UnknownMemberId || code == kafka.IllegalGeneration) {
		m.is = wire.Membership{}
	}
}

// calm is how long a group usually takes to gather when nobody is missing.
const calm = 500 * time.Millisecond

// meanwhile works on partitions if the group takes long to gather, until stop is called, which waits for the work to end.
func (m *member) meanwhile(ctx context.Context, partitions []int32) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var working sync.WaitGroup
	working.Go(func() {
		select {
		case <-time.After(calm):
		case <-ctx.Done():
			return
		}
		for _, p := range partitions {
			working.Go(func() {
				if err := m.read(ctx, int(p)); err != nil && ctx.Err() == nil {
					m.client.log.Debug("read while the group gathers", "group", m.group.Name, "err", err)
				}
			})
		}
	})
	return func() {
		cancel()
		working.Wait()
	}
}

// gather joins the group and returns the partitions this member reads. joined is called when all members are there.
func (m *member) gather(ctx context.Context, joined func()) (own []int32, err error) {
	conn, err := m.client.dialer.Coordinator(ctx, m.group.Name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if code, _ := wire.Refused(err); err != nil && (code == kafka.NotCoordinatorForGroup || code == 0) {
			m.client.dialer.ForgetCoordinator(m.group.Name)
		}
		err = errors.Join(err, conn.Close())
	}()
	all, err := conn.Join(ctx, wire.Join{
		Group: m.group.Name, Topic: m.group.Topic, Member: m.is.Member, Session: m.group.Session, Rebalance: m.group.Session,
	})
	if err != nil {
		return nil, err
	}
	joined()
	m.is = all.Membership
	var shares map[string][]int32
	if len(all.Others) > 0 {
		count, err := m.client.Partitions(ctx, m.group.Topic)
		if err != nil {
			return nil, err
		}
		shares = share(all.Others, count)
	}
	return conn.Share(ctx, m.is, m.group.Topic, m.group.Session, shares)
}

// share gives each member a range of the partitions, none more than one longer than another.
func share(members []string, partitions int) map[string][]int32 {
	slices.Sort(members)
	shares := make(map[string][]int32, len(members))
	for i, m := range members {
		first, end := i*partitions/len(members), (i+1)*partitions/len(members)
		own := make([]int32, 0, end-first)
		for p := first; p < end; p++ {
			own = append(own, int32(p))
		}
		shares[m] = own
	}
	return shares
}

// workError is why work ended by itself.
type workError struct{ error }

// generation reads the partitions until the group gathers again; nil means that it does.
func (m *member) generation(ctx context.Context, partitions []int32) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var working sync.WaitGroup
	defer working.Wait()
	defer cancel(nil)
	for _, p := range partitions {
		working.Go(func() {
			if err := m.read(ctx, int(p)); err != nil && ctx.Err() == nil {
				cancel(workError{err})
			}
		})
	}
	ticker := time.NewTicker(m.group.Heartbeat)
	defer ticker.Stop()
	heard := time.Now()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
		err := m.coordinator.do(ctx, func(c *wire.Conn) error { return c.Beat(ctx, m.is) })
		code, refused := wire.Refused(err)
		switch {
		case err == nil:
			heard = time.Now()
		case refused && code == kafka.RebalanceInProgress:
			return nil
		case refused && code != kafka.NotCoordinatorForGroup && !code.Temporary(), time.Since(heard) > m.group.Session:
			return err
		}
	}
}

// read opens one partition where the group left off and works on it.
func (m *member) read(ctx context.Context, partition int) (err error) {
	r := &groupReader{member: m, log: newLog(m.client, m.group.Topic, partition), is: m.is}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := r.open(ctx); err != nil {
		return fmt.Errorf("open %s/%d: %w", m.group.Topic, partition, err)
	}
	return m.work(ctx, r)
}

// leave lets the others gather at once.
func (m *member) leave() error {
	if m.is.Member == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.client.config.RequestTimeout)
	defer cancel()
	if err := m.coordinator.do(ctx, func(c *wire.Conn) error { return c.Leave(ctx, m.is) }); err != nil {
		// Its session ends by itself.
		m.client.log.Debug("leave group", "group", m.group.Name, "err", err)
	}
	return nil
}

// groupReader is a partition that a member of a group reads in one generation.
type groupReader struct {
	member *member
	log    *log
	is     wire.Membership
}

// open goes to what the group committed, or the earliest record.
func (r *groupReader) open(ctx context.Context) error {
	for pause := newBackoff(); ; {
		offset, _, err := r.Committed(ctx)
		if err == nil && offset < 0 {
			offset, err = r.log.end(ctx, wire.Earliest)
		}
		if err == nil {
			r.log.from(offset)
			return nil
		}
		if pause.wait(ctx) != nil {
			return err
		}
	}
}

// Read implements Reader.
func (r *groupReader) Read(ctx context.Context, max int) ([]Record, error) {
	if max <= 0 {
		return nil, fmt.Errorf("read at most %d records: %w", max, errNothing)
	}
	return r.log.read(ctx, max)
}

// Commit implements Reader. It fails once the group has gathered without this generation.
func (r *groupReader) Commit(ctx context.Context, offset int64, metadata string) error {
	return r.member.coordinator.do(ctx, func(c *wire.Conn) error {
		return c.Commit(ctx, r.is, r.log.topic, r.log.partition, offset, metadata)
	})
}

// Committed implements Reader.
func (r *groupReader) Committed(ctx context.Context) (offset int64, metadata string, err error) {
	var commits []wire.Commit
	err = r.member.client.patiently(ctx, func(ctx context.Context) error {
		return r.member.coordinator.do(ctx, func(c *wire.Conn) error {
			commits, err = c.Committed(ctx, r.is.Group, r.log.topic, r.log.partition)
			return err
		})
	})
	if err != nil {
		return 0, "", err
	}
	return commits[0].Offset, commits[0].Metadata, nil
}

// Close implements Reader.
func (r *groupReader) Close() error { return r.log.hangUp() }
