// Package processing is which of its actions a node that saves takes with a message: all, or with one of each interval only.
package processing

import (
	"fmt"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/recent"
)

// Types of settings, and of strategies.
const (
	EveryMessage   = "ON_EVERY_MESSAGE"
	WebSocketsOnly = "WEBSOCKETS_ONLY"
	Deduplicate    = "DEDUPLICATE"
	Advanced       = "ADVANCED"
	Skip           = "SKIP"
)

// Actions of nodes that save. Calculated fields are not built: what is set for them is checked, and kept.
type Actions uint8

// The actions.
const (
	Timeseries Actions = 1 << iota
	Latest
	Attributes
	WebSockets
	CalculatedFields
)

// Settings is how configurations say it.
type Settings struct {
	Type     string    `json:"type"`
	Interval int64     `json:"deduplicationIntervalSecs"`
	Series   *Strategy `json:"timeseries"`
	Latest   *Strategy `json:"latest"`
	Attrs    *Strategy `json:"attributes"`
	Sockets  *Strategy `json:"webSockets"`
	Fields   *Strategy `json:"calculatedFields"`
}

// Strategy is what ADVANCED settings say of one action.
type Strategy struct {
	Type     string `json:"type"`
	Interval int64  `json:"deduplicationIntervalSecs"`
}

// Schema is the JSON schema of Settings.
const Schema = `{"type":"object","required":["type"],"properties":{
"type":{"enum":["ON_EVERY_MESSAGE","WEBSOCKETS_ONLY","DEDUPLICATE","ADVANCED"]},
"deduplicationIntervalSecs":{"type":"integer","minimum":1,"maximum":86400,"description":"For DEDUPLICATE."}},
"patternProperties":{"^(timeseries|latest|attributes|webSockets|calculatedFields)$":{"type":"object","properties":{
"type":{"enum":["ON_EVERY_MESSAGE","DEDUPLICATE","SKIP"]},"deduplicationIntervalSecs":{"type":"integer","minimum":1,"maximum":86400}}}}}`

// Policy is Settings that were checked. Safe for concurrent use.
type Policy struct {
	always Actions
	once   []once
}

// once takes its actions with the first message of an originator in each interval.
type once struct {
	actions  Actions
	interval int64 // ms
	opened   *recent.Memory[ident.EntityID, opening]
}

// opening is the interval an originator is in, and the message that opened it, which may be handled again.
type opening struct {
	interval int64
	message  values.MessageID
	index    int
}

// originators is how many originators are remembered per strategy. One that is forgotten has one message more saved.
const originators = 50_000

// Compile returns the policy for a node that has the given actions; nil settings mean every message. Errors name the field.
func (s *Settings) Compile(all Actions) (*Policy, error) {
	p := &Policy{}
	if s == nil {
		p.always = all
		return p, nil
	}
	switch s.Type {
	case EveryMessage:
		p.always = all
	case WebSocketsOnly:
		p.always = WebSockets
	case Deduplicate:
		return p, p.add("processingSettings", Strategy{s.Type, s.Interval}, all)
	case Advanced:
		for _, of := range s.advanced() {
			if all&of.action == 0 || of.strategy == nil && of.action == CalculatedFields {
				continue
			}
			field := "processingSettings." + of.name
			if of.strategy == nil {
				return nil, fmt.Errorf("%s: a strategy is needed", field)
			}
			if err := p.add(field, *of.strategy, of.action); err != nil {
				return nil, err
			}
		}
	default:
		return nil, fmt.Errorf("processingSettings.type: %q is none of ON_EVERY_MESSAGE, WEBSOCKETS_ONLY, DEDUPLICATE, ADVANCED", s.Type)
	}
	return p, nil
}

// part is what ADVANCED settings say of an action.
type part struct {
	action   Actions
	name     string
	strategy *Strategy
}

func (s *Settings) advanced() []part {
	return []part{
		{Timeseries, "timeseries", s.Series},
		{Latest, "latest", s.Latest},
		{Attributes, "attributes", s.Attrs},
		{WebSockets, "webSockets", s.Sockets},
		{CalculatedFields, "calculatedFields", s.Fields},
	}
}

func (p *Policy) add(field string, s Strategy, actions Actions) error {
	switch s.Type {
	case EveryMessage:
		p.always |= actions
	case Skip:
	case Deduplicate:
		interval := time.Duration(s.Interval) * time.Second
		if interval < time.Second || interval > 24*time.Hour {
			return fmt.Errorf("%s.deduplicationIntervalSecs: %d is not between 1 and 86400", field, s.Interval)
		}
		p.once = append(p.once, once{actions, interval.Milliseconds(), recent.New[ident.EntityID, opening](originators)})
	default:
		return fmt.Errorf("%s.type: %q is none of ON_EVERY_MESSAGE, DEDUPLICATE, SKIP", field, s.Type)
	}
	return nil
}

// Of returns the actions to be taken with in.
func (p *Policy) Of(in *rule.Message) Actions {
	actions := p.always
	for _, o := range p.once {
		if o.opens(in) {
			actions |= o.actions
		}
	}
	return actions
}

func (o once) opens(in *rule.Message) bool {
	now := opening{in.Timestamp() / o.interval, in.ID, in.Index}
	last, known := o.opened.Get(in.Originator)
	if known && last.interval == now.interval {
		return last == now
	}
	o.opened.Put(in.Originator, now)
	return true
}
