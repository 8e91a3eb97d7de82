package httpapi

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/history"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

const telemetryPrefix = "/api/plugins/telemetry"

// telemetryRoutes are those of rest-api §2.6 that read.
func (a *api) telemetryRoutes() []route {
	const entity = telemetryPrefix + "/{entityType}/{entityId}"
	return []route{
		{"GET", entity + "/keys/attributes", everyone(), a.attributeKeys},
		{"GET", entity + "/keys/attributes/{scope}", everyone(), a.attributeKeys},
		{"GET", entity + "/values/attributes", everyone(), a.attributes},
		{"GET", entity + "/values/attributes/{scope}", everyone(), a.attributes},
		{"GET", entity + "/keys/timeseries", everyone(), a.seriesKeys},
		{"GET", entity + "/values/timeseries", everyone(), a.series},
		{"GET", entity + "/values/timeseries/history", everyone(), a.series},
	}
}

// The scopes by their names; there is no more than one of each.
const (
	clientScope = "CLIENT_SCOPE"
	sharedScope = "SHARED_SCOPE"
	serverScope = "SERVER_SCOPE"
)

func parseScope(name string) (storage.Scope, error) {
	switch name {
	case clientScope:
		return storage.Client, nil
	case sharedScope:
		return storage.Shared, nil
	case serverScope:
		return storage.Server, nil
	}
	return 0, invalid("scope", strconv.Quote(name)+" is unknown")
}

// pathScopes reads the scope of the path; without one all scopes are meant.
func pathScopes(r *http.Request) ([]storage.Scope, error) {
	name := chi.URLParam(r, "scope")
	if name == "" {
		return []storage.Scope{storage.Client, storage.Server, storage.Shared}, nil
	}
	scope, err := parseScope(name)
	return []storage.Scope{scope}, err
}

// keyList reads the keys asked for: key=a&key=b, whose commas belong to the keys, else keys=a,b. None is nil.
func keyList(r *http.Request) []string {
	q := r.URL.Query()
	if given := q["key"]; len(given) > 0 {
		return distinct(given)
	}
	return distinct(strings.Split(q.Get("keys"), ","))
}

// distinct drops empty and repeated keys, keeping their order.
func distinct(keys []string) []string {
	var out []string
	for _, key := range keys {
		if key != "" && !slices.Contains(out, key) {
			out = append(out, key)
		}
	}
	return out
}

// readable is the entity of the path, if p may read its values.
func (a *api) readable(r *http.Request, p auth.Principal) (ident.EntityID, error) {
	e, err := pathEntity(r)
	if err != nil {
		return e, err
	}
	if _, err := a.Guard.Values(r.Context(), p, e, auth.ReadValues); err != nil {
		return e, plain{err}
	}
	return e, nil
}

func (a *api) attributeKeys(r *http.Request, p auth.Principal) (any, error) {
	entries, err := a.readAttributes(r, p, nil)
	if err != nil {
		return nil, err
	}
	keys := make([]string, len(entries))
	for i, e := range entries {
		keys[i] = e.Key
	}
	return keys, nil
}

func (a *api) readAttributes(r *http.Request, p auth.Principal, keys []string) ([]storage.Entry, error) {
	scopes, err := pathScopes(r)
	if err != nil {
		return nil, err
	}
	e, err := a.readable(r, p)
	if err != nil {
		return nil, err
	}
	var all []storage.Entry
	for _, scope := range scopes {
		entries, err := a.Values.Attributes(r.Context(), e, scope, keys)
		if err != nil {
			return nil, plain{err}
		}
		all = append(all, entries...)
	}
	return all, nil
}

func (a *api) attributes(r *http.Request, p auth.Principal) (any, error) {
	entries, err := a.readAttributes(r, p, keyList(r))
	if err != nil {
		return nil, err
	}
	out := []byte{'['}
	for i, e := range entries {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, `{"lastUpdateTs":`...)
		out = strconv.AppendInt(out, e.Time, 10)
		out = append(out, `,"key":`...)
		out = history.AppendString(out, e.Key)
		out = append(out, `,"value":`...)
		out = history.AppendStrict(out, e.Value)
		out = append(out, '}')
	}
	return raw(append(out, ']')), nil
}

func (a *api) seriesKeys(r *http.Request, p auth.Principal) (any, error) {
	e, err := a.readable(r, p)
	if err != nil {
		return nil, err
	}
	entries, err := a.Values.Latest(r.Context(), e, nil)
	if err != nil {
		return nil, plain{err}
	}
	keys := make([]string, len(entries))
	for i, entry := range entries {
		keys[i] = entry.Key
	}
	return keys, nil
}

// series answers latest values, or those of a range when both its ends are given.
func (a *api) series(r *http.Request, p auth.Principal) (any, error) {
	strict, err := flagOr(r, "useStrictDataTypes", false)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	if !q.Has("startTs") || !q.Has("endTs") {
		e, err := a.readable(r, p)
		if err != nil {
			return nil, err
		}
		return plainly(a.latest(r, e, strict))
	}
	query, err := historyQuery(r)
	if err != nil {
		return nil, err
	}
	e, err := a.readable(r, p)
	if err != nil {
		return nil, err
	}
	found, err := a.History.Read(r.Context(), e, query)
	if err != nil {
		return nil, plain{err}
	}
	return seriesView(found, strict), nil
}

// latest shows the newest value of each key; a key without any shows null now.
func (a *api) latest(r *http.Request, e ident.EntityID, strict bool) (any, error) {
	keys := keyList(r)
	entries, err := a.Values.Latest(r.Context(), e, keys)
	if err != nil {
		return nil, err
	}
	found := make([]history.Series, 0, max(len(entries), len(keys)))
	for _, entry := range entries {
		found = append(found, history.Series{Key: entry.Key, Points: []storage.Point{{Time: entry.Time, Value: entry.Value}}})
	}
	for _, key := range keys {
		if !slices.ContainsFunc(entries, func(e storage.Entry) bool { return e.Key == key }) {
			found = append(found, history.Series{Key: key, Points: []storage.Point{{Time: a.Now().UnixMilli()}}})
		}
	}
	return seriesView(found, strict), nil
}

const defaultLimit = 100

func historyQuery(r *http.Request) (history.Query, error) {
	values := r.URL.Query()
	q := history.Query{Keys: keyList(r)}
	var width, limit int64
	for _, field := range []struct {
		name      string
		into      *int64
		otherwise int64
	}{{"startTs", &q.Within.Start, 0}, {"endTs", &q.Within.End, 0}, {"interval", &width, 0}, {"limit", &limit, defaultLimit}} {
		n, err := numberOr(r, field.name, field.otherwise)
		if err != nil {
			return q, err
		}
		*field.into = n
	}
	q.Limit = int(limit)
	var err error
	if q.Aggregate, err = history.ParseAggregate(values.Get("agg")); err != nil {
		return q, err
	}
	if q.Interval, err = history.ParseInterval(values.Get("intervalType"), width, values.Get("timeZone")); err != nil {
		return q, err
	}
	q.NewestFirst, err = descending(r, "orderBy", true)
	return q, err
}

// seriesView shows {"key":[{"ts":…,"value":…}]}; keys without points are left out.
func seriesView(found []history.Series, strict bool) raw {
	show := history.AppendText
	if strict {
		show = history.AppendStrict
	}
	out := []byte{'{'}
	for _, s := range found {
		if len(s.Points) == 0 {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(history.AppendString(out, s.Key), ":["...)
		for i, p := range s.Points {
			if i > 0 {
				out = append(out, ',')
			}
			out = strconv.AppendInt(append(out, `{"ts":`...), p.Time, 10)
			out = append(show(append(out, `,"value":`...), p.Value), '}')
		}
		out = append(out, ']')
	}
	return raw(append(out, '}'))
}

// checkKeys holds keys of values to rest-api §2.6: not blank, and what names may be.
func checkKeys(kvs []telemetry.KeyValue) error {
	for _, kv := range kvs {
		if strings.TrimSpace(kv.Key) == "" {
			return fault.New(fault.Invalid, "Key of a value is blank")
		}
		if err := checkText("key", kv.Key); err != nil {
			return err
		}
	}
	return nil
}
