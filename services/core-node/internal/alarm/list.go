package alarm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Scope is whose alarms are listed: an entity's (with those propagated to it), or else a customer's, or else the tenant's.
type Scope struct {
	Tenant   ident.TenantID
	Entity   ident.EntityID
	Customer ident.CustomerID
}

func (s Scope) group() string {
	switch {
	case !s.Entity.ID.IsZero():
		return entityGroup(s.Tenant, s.Entity)
	case !s.Customer.IsZero():
		return customerGroup(s.Tenant, s.Customer)
	}
	return tenantGroup(s.Tenant)
}

// Filter narrows a list; empty fields do not.
type Filter struct {
	Statuses   []SearchStatus // any of these
	Severities []Severity
	Types      []string
	Assignee   ident.ID
	Search     string // part of type, severity or status, whatever its case
}

// SearchStatus is a status, or what several have in common.
type SearchStatus string

// What statuses have in common.
const (
	AnyStatus    SearchStatus = "ANY"
	Active       SearchStatus = "ACTIVE"
	IsCleared    SearchStatus = "CLEARED"
	IsAck        SearchStatus = "ACK"
	IsUnack      SearchStatus = "UNACK"
	activeUnack               = SearchStatus(ActiveUnack)
	activeAck                 = SearchStatus(ActiveAck)
	clearedUnack              = SearchStatus(ClearedUnack)
	clearedAck                = SearchStatus(ClearedAck)
)

// ParseStatus reads ACTIVE_UNACK and its like.
func ParseStatus(text string) (SearchStatus, error) {
	s := SearchStatus(text)
	if slices.Contains([]SearchStatus{activeUnack, activeAck, clearedUnack, clearedAck}, s) {
		return s, nil
	}
	return "", fault.New(fault.Invalid, fmt.Sprintf("status: %q is unknown", text))
}

// ParseSearchStatus reads ANY, ACTIVE, CLEARED, ACK or UNACK.
func ParseSearchStatus(text string) (SearchStatus, error) {
	s := SearchStatus(text)
	if slices.Contains([]SearchStatus{AnyStatus, Active, IsCleared, IsAck, IsUnack}, s) {
		return s, nil
	}
	return "", fault.New(fault.Invalid, fmt.Sprintf("searchStatus: %q is unknown", text))
}

func (s SearchStatus) has(e *entry) bool {
	switch s {
	case AnyStatus:
		return true
	case Active:
		return !e.Cleared
	case IsCleared:
		return e.Cleared
	case IsAck:
		return e.Acknowledged
	case IsUnack:
		return !e.Acknowledged
	}
	return string(s) == string(statusOf(e.Cleared, e.Acknowledged))
}

func (f Filter) passes(e *entry) bool {
	if len(f.Statuses) > 0 && !slices.ContainsFunc(f.Statuses, func(s SearchStatus) bool { return s.has(e) }) ||
		len(f.Severities) > 0 && !slices.Contains(f.Severities, e.Severity) ||
		len(f.Types) > 0 && !slices.Contains(f.Types, e.Type) ||
		!f.Assignee.IsZero() && f.Assignee != e.Assignee {
		return false
	}
	if f.Search == "" {
		return true
	}
	search := strings.ToLower(f.Search)
	return strings.Contains(strings.ToLower(e.Type), search) || strings.Contains(strings.ToLower(string(e.Severity)), search) ||
		strings.Contains(strings.ToLower(string(statusOf(e.Cleared, e.Acknowledged))), search)
}

// Query asks for a page of alarms.
type Query struct {
	Scope
	Filter
	Start, End int64 // ms of creation, both included; End 0 means no end
	Page, Size int
	// Sort is createdTime (also ""), startTs, type, severity, status, originator or assignee. The newest come first unless Ascending.
	Sort      string
	Ascending bool
}

// Page is the alarms found, and how many there are on all pages.
type Page struct {
	Items []Alarm
	Total int
}

// candidate is a row that passes.
type candidate struct {
	id      ident.ID
	created int64
	entry
}

var orders = map[string]func(a, b candidate) int{
	"":            func(a, b candidate) int { return cmp.Compare(a.created, b.created) },
	"createdTime": func(a, b candidate) int { return cmp.Compare(a.created, b.created) },
	"startTs":     func(a, b candidate) int { return cmp.Compare(a.StartTs, b.StartTs) },
	"type":        func(a, b candidate) int { return strings.Compare(a.Type, b.Type) },
	"severity":    func(a, b candidate) int { return strings.Compare(string(a.Severity), string(b.Severity)) },
	"status": func(a, b candidate) int {
		return strings.Compare(string(statusOf(a.Cleared, a.Acknowledged)), string(statusOf(b.Cleared, b.Acknowledged)))
	},
	"originator": func(a, b candidate) int { return strings.Compare(a.Originator.String(), b.Originator.String()) },
	"assignee":   func(a, b candidate) int { return strings.Compare(a.Assignee.String(), b.Assignee.String()) },
}

// List returns a page of alarms. More than Settings.Scan to look through is fault.Invalid.
func (r *Registry) List(ctx context.Context, q Query) (Page, error) {
	order, known := orders[q.Sort]
	if !known {
		return Page{}, fault.New(fault.Invalid, "Unsupported sort property '"+q.Sort+"'")
	}
	if q.Size < 1 || q.Page < 0 {
		return Page{}, fault.New(fault.Invalid, "Incorrect page link: pageSize must be positive, page must not be negative")
	}
	var found []candidate
	err := r.each(ctx, q, func(c candidate) bool {
		found = append(found, c)
		return true
	})
	if err != nil {
		return Page{}, err
	}
	slices.SortStableFunc(found, func(a, b candidate) int {
		if q.Ascending {
			return order(a, b)
		}
		return order(b, a)
	})
	page := Page{Items: []Alarm{}, Total: len(found)}
	from := len(found)
	if q.Page <= math.MaxInt/q.Size {
		from = min(from, q.Page*q.Size)
	}
	for _, c := range found[from:min(len(found), from+min(q.Size, len(found)))] {
		a, err := r.Get(ctx, q.Tenant, c.id)
		if errors.Is(err, storage.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return Page{}, err
		}
		page.Items = append(page.Items, a)
	}
	return page, nil
}

// each yields the rows of a list that pass, the newest first.
func (r *Registry) each(ctx context.Context, q Query, yield func(candidate) bool) error {
	from, to := rowKey(max(q.Start, 0), ident.ID{}), []byte(nil)
	if q.End > 0 && q.End < math.MaxInt64 {
		to = rowKey(q.End+1, ident.ID{})
	}
	seen := 0
	for row, err := range r.options.Store.ScanRows(ctx, q.group(), from, to, true) {
		if err != nil {
			return fmt.Errorf("list alarms: %w", err)
		}
		if seen++; seen > r.options.Settings.Scan {
			return fault.New(fault.Invalid, fmt.Sprintf("More than %d alarms: ask for a shorter time", r.options.Settings.Scan))
		}
		var c candidate
		if c.created, c.id, err = readRow(row, &c.entry); err != nil {
			return err
		}
		if c.Marked {
			is, err := r.Get(ctx, q.Tenant, c.id)
			if errors.Is(err, storage.ErrNotFound) {
				continue // what a kill left, or is being created
			}
			if err != nil {
				return err
			}
			c.entry = is.entry()
		}
		if q.passes(&c.entry) && !yield(c) {
			return nil
		}
	}
	return nil
}

// Count returns how many alarms a query finds.
func (r *Registry) Count(ctx context.Context, q Query) (n int, err error) {
	err = r.each(ctx, q, func(candidate) bool {
		n++
		return true
	})
	return n, err
}

// HighestSeverity returns the worst severity of the alarms found; "" when there are none.
func (r *Registry) HighestSeverity(ctx context.Context, s Scope, f Filter) (highest Severity, err error) {
	err = r.each(ctx, Query{Scope: s, Filter: f}, func(c candidate) bool {
		if highest == "" || c.Severity.rank() < highest.rank() {
			highest = c.Severity
		}
		return highest != Critical
	})
	return highest, err
}

// Types returns the types of alarm a tenant has had, in order, those that contain search whatever its case.
func (r *Registry) Types(ctx context.Context, tenant ident.TenantID, search string) ([]string, error) {
	types := []string{}
	search = strings.ToLower(search)
	for row, err := range r.options.Store.ScanRows(ctx, typesGroup(tenant), nil, nil, false) {
		if err != nil {
			return nil, fmt.Errorf("list types of alarms: %w", err)
		}
		if kind := string(row.Key); strings.Contains(strings.ToLower(kind), search) {
			types = append(types, kind)
		}
		if len(types) >= r.options.Settings.Scan {
			break
		}
	}
	return types, nil
}
