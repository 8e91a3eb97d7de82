package gettelemetry

import (
	"fmt"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/history"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/pattern"
)

const (
	first = "FIRST"
	last  = "LAST"
	all   = "ALL"

	mostPoints = 1000
)

const defaults = `{"latestTsKeyNames":[],"fetchMode":"FIRST","startInterval":2,"startIntervalTimeUnit":"MINUTES","endInterval":1,"endIntervalTimeUnit":"MINUTES",` +
	`"useMetadataIntervalPatterns":false,"startIntervalPattern":"","endIntervalPattern":"","orderBy":"ASC","aggregation":"NONE","limit":1000}`

const schema = `{"type":"object","required":["latestTsKeyNames","fetchMode"],"properties":{
"latestTsKeyNames":{"type":"array","items":{"type":"string"},"description":"Patterns."},
"fetchMode":{"enum":["FIRST","LAST","ALL"]},
"startInterval":{"type":"integer","minimum":1,"description":"The window begins so long before now."},
"startIntervalTimeUnit":{"enum":["MILLISECONDS","SECONDS","MINUTES","HOURS","DAYS"]},
"endInterval":{"type":"integer","minimum":0,"description":"The window ends so long before now."},
"endIntervalTimeUnit":{"enum":["MILLISECONDS","SECONDS","MINUTES","HOURS","DAYS"]},
"useMetadataIntervalPatterns":{"type":"boolean","description":"The window is between the two patterns, in ms since the epoch."},
"startIntervalPattern":{"type":"string"},"endIntervalPattern":{"type":"string"},
"orderBy":{"enum":["ASC","DESC"]},
"aggregation":{"enum":["NONE","MIN","MAX","AVG","SUM","COUNT"]},
"limit":{"type":"integer","minimum":2,"maximum":1000}}}`

type config struct {
	Keys         []string `json:"latestTsKeyNames"`
	FetchMode    string   `json:"fetchMode"`
	Start        int64    `json:"startInterval"`
	StartUnit    string   `json:"startIntervalTimeUnit"`
	End          int64    `json:"endInterval"`
	EndUnit      string   `json:"endIntervalTimeUnit"`
	UsePatterns  bool     `json:"useMetadataIntervalPatterns"`
	StartPattern string   `json:"startIntervalPattern"`
	EndPattern   string   `json:"endIntervalPattern"`
	OrderBy      string   `json:"orderBy"`
	Aggregation  string   `json:"aggregation"`
	Limit        int      `json:"limit"`
}

func (c config) window() (w window, err error) {
	if c.UsePatterns {
		return window{patterns: true, start: pattern.Compile(c.StartPattern), end: pattern.Compile(c.EndPattern)}, nil
	}
	if w.from, err = back("startInterval", c.Start, c.StartUnit); err != nil {
		return w, err
	}
	if w.to, err = back("endInterval", c.End, c.EndUnit); err != nil {
		return w, err
	}
	if w.from <= w.to {
		return w, fmt.Errorf("startInterval: %v before now is not earlier than the end, %v before now", w.from, w.to)
	}
	return w, nil
}

// back reads an amount of time before now.
func back(field string, amount int64, unit string) (time.Duration, error) {
	units := map[string]time.Duration{
		"MILLISECONDS": time.Millisecond, "SECONDS": time.Second, "MINUTES": time.Minute, "HOURS": time.Hour, "DAYS": 24 * time.Hour,
	}
	one, ok := units[unit]
	if !ok {
		return 0, fmt.Errorf("%sTimeUnit: %q is no unit", field, unit)
	}
	if amount < 0 || amount > int64(longest/one) {
		return 0, fmt.Errorf("%s: %d %s is no time before now", field, amount, unit)
	}
	return time.Duration(amount) * one, nil
}

// longest keeps amounts within a time.Duration.
const longest = 200 * 365 * 24 * time.Hour

func (c config) query() (q history.Query, single bool, err error) {
	q.Aggregate = history.None
	switch c.FetchMode {
	case first:
		q.Limit = 1
		return q, true, nil
	case last:
		q.Limit, q.NewestFirst = 1, true
		return q, true, nil
	case all:
	default:
		return q, false, fmt.Errorf("fetchMode: %q is none of FIRST, LAST, ALL", c.FetchMode)
	}
	if c.Limit < 2 || c.Limit > mostPoints {
		return q, false, fmt.Errorf("limit: %d is not between 2 and %d", c.Limit, mostPoints)
	}
	switch c.OrderBy {
	case "", "ASC":
	case "DESC":
		q.NewestFirst = true
	default:
		return q, false, fmt.Errorf("orderBy: %q is none of ASC, DESC", c.OrderBy)
	}
	q.Limit = c.Limit
	if q.Aggregate, err = history.ParseAggregate(c.Aggregation); err != nil {
		return q, false, fmt.Errorf("aggregation: %w", err)
	}
	return q, false, nil
}
