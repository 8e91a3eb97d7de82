package websocket

import (
	"context"
	"fmt"
	"slices"

	"github.com/coder/websocket"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/history"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// latestScope asks for points only that are not older than the newest known.
const latestScope = "LATEST_TELEMETRY"

// handleCommands runs commands in order; false when one ended the session. All subscriptions of a frame are made before
// the first answer is read, so that their owners are asked together.
func (s *session) handleCommands(ctx context.Context, commands []command) bool {
	answers := make([]answer, len(commands))
	for i, c := range commands {
		if s.isEnded() {
			return false
		}
		s.server.metrics.commands.Inc()
		answers[i] = s.begin(ctx, c)
	}
	for i, c := range commands {
		if s.isEnded() {
			return false
		}
		if err := s.finish(ctx, answers[i]); err != nil {
			code, message := describe(err)
			if code == codeFailed {
				s.server.Log.Debug("run websocket command", "type", c.Type, "err", err)
			}
			s.put(item{ready: errorFrame(c.ID, code, message)})
		}
	}
	return !s.isEnded()
}

// describe maps an error to a frame's code and words.
func describe(err error) (code int, message string) {
	switch kind := fault.KindOf(err); kind {
	case fault.Invalid:
		return codeBad, err.Error()
	case fault.Denied, fault.NotFound:
		return codeFailed, "You don't have permission to read this entity, or there is none"
	case fault.Unavailable, fault.Limited:
		return codeFailed, "Service is unavailable, try again"
	}
	return codeFailed, "Internal server error"
}

func bad(format string, args ...any) error {
	return fault.New(fault.Invalid, fmt.Sprintf(format, args...))
}

// answer is what is left to do of a command: reading, and sending what was read. It may be nil.
type answer func(ctx context.Context) error

// begin checks a command and makes its subscription, if it asks for one.
func (s *session) begin(ctx context.Context, c command) answer {
	ctx, cancel := context.WithTimeout(ctx, s.server.Settings.CommandTimeout)
	defer cancel()
	reply, err := s.command(ctx, c)
	if err != nil {
		return func(context.Context) error { return err }
	}
	return reply
}

func (s *session) finish(ctx context.Context, reply answer) error {
	if reply == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.server.Settings.CommandTimeout)
	defer cancel()
	return reply(ctx)
}

func (s *session) command(ctx context.Context, c command) (answer, error) {
	if c.ID < 0 {
		return nil, bad("cmdId: %d is negative", c.ID)
	}
	switch c.Type {
	case attributesCommand, timeseriesCommand:
		if c.Unsubscribe {
			s.drop(c)
			return nil, nil //nolint:nilnil // nothing is answered
		}
	case historyCommand:
	default:
		return nil, bad("type: %q is not supported", c.Type)
	}
	e, err := c.entity()
	if err != nil {
		return nil, bad("%v", err)
	}
	if _, err := s.server.Guard.Values(ctx, s.principal, e, auth.ReadValues); err != nil {
		return nil, err
	}
	switch c.Type {
	case attributesCommand:
		return s.followAttributes(c, e)
	case timeseriesCommand:
		return s.followSeries(c, e)
	}
	return s.sendHistory(c, e)
}

// drop ends one subscription, or all of the session's when no entity is named.
func (s *session) drop(c command) {
	if c.EntityID != "" {
		s.unsubscribe(c.ID)
		return
	}
	for id := range s.subscriptions {
		s.unsubscribe(id)
	}
}

func (s *session) unsubscribe(id int64) {
	if sub := s.subscriptions[id]; sub != nil {
		sub.stop()
		delete(s.subscriptions, id)
		s.server.metrics.subscriptions.Dec()
	}
}

// follow subscribes. The answer waits until updates come, has what was before read, and sends it. A subscription with
// the same id is replaced.
func (s *session) follow(sub *subscription, first func(context.Context) ([]history.Series, error)) answer {
	s.unsubscribe(sub.id)
	if len(s.subscriptions) >= s.server.Settings.Subscriptions {
		s.end(websocket.StatusPolicyViolation, "too many subscriptions")
		return nil
	}
	sub.out, sub.loading = s, true
	sub.maxKeys, sub.maxWait = s.server.Settings.Keys, s.server.Settings.Pending
	sub.stop = s.server.Live.Watch(sub.entity, sub.deliver)
	s.subscriptions[sub.id] = sub
	s.server.metrics.subscriptions.Inc()
	return func(ctx context.Context) error {
		if s.subscriptions[sub.id] != sub {
			return nil // a later command of the frame ended it
		}
		err := s.server.Live.Settle(ctx, sub.entity)
		var found []history.Series
		if err == nil {
			found, err = first(ctx)
		}
		if err != nil {
			s.unsubscribe(sub.id)
			return err
		}
		sub.loaded(found)
		return nil
	}
}

func (s *session) followAttributes(c command, e ident.EntityID) (answer, error) {
	scopes, err := attributeScopes(c.Scope)
	if err != nil {
		return nil, err
	}
	keys := c.keys()
	return s.follow(&subscription{id: c.ID, entity: e, scopes: scopes, keys: set(keys)}, func(ctx context.Context) ([]history.Series, error) {
		var found []history.Series
		for _, scope := range scopes {
			entries, err := s.server.Values.Attributes(ctx, e, scope, keys)
			if err != nil {
				return nil, fmt.Errorf("read attributes of %v: %w", e, err)
			}
			found = appendEntries(found, entries)
		}
		return found, nil
	}), nil
}

func attributeScopes(name string) ([]storage.Scope, error) {
	switch name {
	case "", "ANY_SCOPE":
		return []storage.Scope{storage.Client, storage.Server, storage.Shared}, nil
	case "CLIENT_SCOPE":
		return []storage.Scope{storage.Client}, nil
	case "SERVER_SCOPE":
		return []storage.Scope{storage.Server}, nil
	case "SHARED_SCOPE":
		return []storage.Scope{storage.Shared}, nil
	}
	return nil, bad("scope: %q is unknown", name)
}

// appendEntries makes series of entries; a key of several scopes gets one point of each.
func appendEntries(found []history.Series, entries []storage.Entry) []history.Series {
	for _, entry := range entries {
		next := one(entry.Key, entry.Time, entry.Value)
		i := slices.IndexFunc(found, func(s history.Series) bool { return s.Key == entry.Key })
		if i < 0 {
			found = append(found, next)
		} else {
			found[i].Points = append(found[i].Points, next.Points...)
		}
	}
	return found
}

func set(keys []string) map[string]bool {
	if keys == nil {
		return nil
	}
	all := make(map[string]bool, len(keys))
	for _, key := range keys {
		all[key] = true
	}
	return all
}

// followSeries answers the latest values, or those of a window that has begun, and goes on live.
func (s *session) followSeries(c command, e ident.EntityID) (answer, error) {
	keys := c.keys()
	sub := &subscription{
		id: c.ID, entity: e, scopes: []storage.Scope{storage.Timeseries}, keys: set(keys), latest: c.Scope == latestScope,
	}
	if keys == nil || c.TimeWindow <= 0 {
		return s.follow(sub, func(ctx context.Context) ([]history.Series, error) { return s.latest(ctx, e, keys) }), nil
	}
	query, err := s.query(c, storage.Span{Start: c.StartTs, End: c.StartTs + c.TimeWindow})
	if err != nil {
		return nil, err
	}
	return s.follow(sub, func(ctx context.Context) ([]history.Series, error) { return s.server.History.Read(ctx, e, query) }), nil
}

// latest reads newest values; a key asked for that has none shows null now.
func (s *session) latest(ctx context.Context, e ident.EntityID, keys []string) ([]history.Series, error) {
	entries, err := s.server.Values.Latest(ctx, e, keys)
	if err != nil {
		return nil, fmt.Errorf("read latest values of %v: %w", e, err)
	}
	found := make([]history.Series, 0, max(len(entries), len(keys)))
	for _, entry := range entries {
		found = append(found, one(entry.Key, entry.Time, entry.Value))
	}
	now := s.server.Now().UnixMilli()
	for _, key := range keys {
		if !slices.ContainsFunc(entries, func(e storage.Entry) bool { return e.Key == key }) {
			found = append(found, one(key, now, storage.Entry{}.Value))
		}
	}
	return found, nil
}

// sendHistory answers one range and follows nothing.
func (s *session) sendHistory(c command, e ident.EntityID) (answer, error) {
	if c.keys() == nil {
		return nil, bad("keys: is required")
	}
	query, err := s.query(c, storage.Span{Start: c.StartTs, End: c.EndTs})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		found, err := s.server.History.Read(ctx, e, query)
		if err == nil {
			s.send(newAnswer(c.ID, found))
		}
		return err
	}, nil
}

func (s *session) query(c command, within storage.Span) (history.Query, error) {
	q := history.Query{Keys: c.keys(), Within: within, Limit: c.Limit, NewestFirst: true}
	if q.Limit == 0 {
		q.Limit = s.server.Settings.HistoryPointLimit
	}
	var err error
	if q.Aggregate, err = history.ParseAggregate(c.Agg); err != nil {
		return q, err
	}
	if q.Interval, err = history.ParseInterval("", c.Interval, ""); err != nil {
		return q, err
	}
	return q, s.server.History.Check(q)
}
