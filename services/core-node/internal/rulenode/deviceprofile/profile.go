package deviceprofile

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
)

// rules are the alarm rules of a device profile.
type rules struct {
	alarms     []*alarmKind
	attributes []string // all keys of that sort
	series     []string
	fields     bool            // of the device are asked for
	remembers  bool            // some rule counts, or measures time
	names      map[string]bool // of those that do
}

// alarmKind is the rules of one type of alarm.
type alarmKind struct {
	ID            string                `json:"id"`
	Type          string                `json:"alarmType"`
	Create        map[string]*alarmRule `json:"createRules"`
	Clear         *alarmRule            `json:"clearRule"`
	Propagate     bool                  `json:"propagate"`
	ToOwner       bool                  `json:"propagateToOwner"`
	ToTenant      bool                  `json:"propagateToTenant"`
	RelationTypes []string              `json:"propagateRelationTypes"`

	create []*alarmRule // the worst severity first
}

// alarmRule is one condition.
type alarmRule struct {
	Condition struct {
		Filters []filter `json:"condition"`
		Spec    spec     `json:"spec"`
	} `json:"condition"`
	Schedule  *schedule `json:"schedule"`
	Details   string    `json:"alarmDetails"`
	Dashboard *struct {
		ID string `json:"id"`
	} `json:"dashboardId"`

	name     string // within the profile
	severity alarm.Severity
}

type spec struct {
	Type      string  `json:"type"`
	Unit      string  `json:"unit"`
	Value     int64   `json:"value"` // of old profiles
	Count     int64   `json:"count"` // of old profiles
	Predicate dynamic `json:"predicate"`
}

// filter is the test of one key.
type filter struct {
	Key       key             `json:"key"`
	Value     json.RawMessage `json:"value"` // of CONSTANT
	Predicate predicate       `json:"predicate"`
}

type key struct {
	Type string `json:"type"`
	Key  string `json:"key"`
}

// Types of keys.
const (
	attribute = "ATTRIBUTE"
	series    = "TIME_SERIES"
	field     = "ENTITY_FIELD"
	fixed     = "CONSTANT"
)

// compile reads the rules of a profile's body; one without any has none.
func compile(body []byte) (*rules, error) {
	var profile struct {
		Data struct {
			Alarms []*alarmKind `json:"alarms"`
		} `json:"profileData"`
	}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &profile); err != nil {
			return nil, fmt.Errorf("read the device profile: %w", err)
		}
	}
	r := &rules{alarms: profile.Data.Alarms, names: map[string]bool{}}
	keys := map[key]struct{}{}
	for _, a := range r.alarms {
		if err := a.order(); err != nil {
			return nil, fmt.Errorf("device profile: alarm rule %q: %w", a.Type, err)
		}
		for _, one := range a.all() {
			if err := one.check(keys); err != nil {
				return nil, fmt.Errorf("device profile: alarm rule %q: %w", a.Type, err)
			}
			if one.remembers() {
				r.remembers, r.names[one.name] = true, true
			}
		}
	}
	for k := range keys {
		switch k.Type {
		case attribute:
			r.attributes = append(r.attributes, k.Key)
		case series:
			r.series = append(r.series, k.Key)
		case field:
			r.fields = true
		}
	}
	slices.Sort(r.attributes)
	slices.Sort(r.series)
	return r, nil
}

func (a *alarmKind) order() error {
	for _, name := range slices.Sorted(maps.Keys(a.Create)) {
		severity, err := alarm.ParseSeverity(name)
		if err != nil {
			return err
		}
		one := a.Create[name]
		if one == nil {
			continue
		}
		one.severity, one.name = severity, a.ID+"/"+name
		a.create = append(a.create, one)
	}
	slices.SortFunc(a.create, func(x, y *alarmRule) int { return rank(x.severity) - rank(y.severity) })
	if a.Clear != nil {
		a.Clear.name = a.ID + "/clear"
	}
	return nil
}

func (a *alarmKind) all() []*alarmRule {
	all := slices.Clone(a.create)
	if a.Clear != nil {
		all = append(all, a.Clear)
	}
	return all
}

// rank is 0 for the worst.
func rank(s alarm.Severity) int {
	return slices.Index([]alarm.Severity{alarm.Critical, alarm.Major, alarm.Minor, alarm.Warning, alarm.Indeterminate}, s)
}

func (r *alarmRule) remembers() bool {
	return r.Condition.Spec.Type == duration || r.Condition.Spec.Type == repeating
}

func (r *alarmRule) check(keys map[key]struct{}) error {
	switch r.Condition.Spec.Type {
	case "", simple, repeating:
	case duration:
		if _, err := unit(r.Condition.Spec.Unit); err != nil {
			return err
		}
	default:
		return fmt.Errorf("condition type %q is unknown", r.Condition.Spec.Type)
	}
	for _, f := range r.Condition.Filters {
		switch f.Key.Type {
		case attribute, series, field, fixed:
		default:
			return fmt.Errorf("key type %q is unknown", f.Key.Type)
		}
		if err := f.Predicate.check(0); err != nil {
			return err
		}
		keys[f.Key] = struct{}{}
		f.Predicate.sources(keys)
	}
	for _, name := range r.Condition.Spec.Predicate.sources() {
		keys[key{attribute, name}] = struct{}{}
	}
	return r.Schedule.check()
}

// sources adds the device's attributes p compares with.
func (p predicate) sources(keys map[key]struct{}) {
	for _, name := range p.Value.sources() {
		keys[key{attribute, name}] = struct{}{}
	}
	for _, inner := range p.Predicates {
		inner.sources(keys)
	}
}

func (d dynamic) sources() []string {
	if d.Source == nil || d.Source.Type != "CURRENT_DEVICE" {
		return nil
	}
	return []string{d.Source.Attribute}
}

// unit reads a unit of time.
func unit(name string) (time.Duration, error) {
	units := map[string]time.Duration{
		"": time.Second, "MILLISECONDS": time.Millisecond, "SECONDS": time.Second, "MINUTES": time.Minute, "HOURS": time.Hour, "DAYS": 24 * time.Hour,
	}
	one, ok := units[name]
	if !ok {
		return 0, fmt.Errorf("unit %q is unknown", name)
	}
	return one, nil
}
