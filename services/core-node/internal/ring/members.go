package ring

import (
	"context"
	"errors"
	"slices"
	"time"
)

// audit is how often, in session time-outs, what watches should have told is looked up.
const audit = 5

// followMembers moves partitions when nodes come and go, until ctx or the session ends. What a node that left had is wanted at once;
// joins, and what follows from them and from a change of shares, wait for the settle time.
func (s *session) followMembers(ctx context.Context) {
	var applied []string
	var settled <-chan time.Time
	for ctx.Err() == nil && s.ctx.Err() == nil {
		changed := make(chan struct{})
		members, err := s.members(func() { close(changed) })
		if err != nil {
			if !pause(ctx, s.z.clock, retry, s.ctx.Done()) {
				return
			}
			continue
		}
		stay := slices.DeleteFunc(slices.Clone(applied), func(id string) bool { return !slices.Contains(members, id) })
		if len(stay) < len(applied) {
			s.z.log.Info("nodes left", "nodes", members)
			s.z.assign(s, stay, true)
		}
		if settled == nil && (len(stay) < len(applied) || len(stay) < len(members)) {
			settled, _ = s.z.clock.After(s.z.options.Settings.ZooKeeperSettle)
		}
		applied = stay
		if !s.awaitChange(ctx, changed, &settled, &applied, members) {
			return
		}
	}
}

// awaitChange waits until the members may have changed, and applies them when settled is due. It reports false at the end.
func (s *session) awaitChange(ctx context.Context, changed <-chan struct{}, settled *<-chan time.Time, applied *[]string, members []string) bool {
	overdue, stop := s.z.clock.After(audit * s.timeout)
	defer func() { stop() }()
	for {
		select {
		case <-changed:
			return true
		case <-*settled:
			*settled, *applied = nil, members
			s.z.log.Info("partitions are assigned", "nodes", members)
			s.z.metrics.rebalances.Inc()
			s.z.assign(s, members, false)
		case <-overdue:
			if now, err := s.members(nil); err == nil && !slices.Equal(now, members) {
				return true
			}
			overdue, stop = s.z.clock.After(audit * s.timeout)
		case <-ctx.Done():
			return false
		case <-s.ctx.Done():
			return false
		}
	}
}

// members lists the live nodes, sorted. We are one as long as our session lives, whatever happened to our znode.
func (s *session) members(changed func()) ([]string, error) {
	names, err := s.conn.List(s.ctx, s.z.layout.nodes(), changed)
	if err != nil {
		if errors.Is(err, errNoNode) {
			err = errors.Join(err, s.makeFolders(s.ctx))
		}
		return nil, err
	}
	if !slices.Contains(names, s.z.options.Node) {
		names = append(names, s.z.options.Node)
	}
	slices.Sort(names)
	return names, nil
}
