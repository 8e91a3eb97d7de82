package deviceprofile

import (
	"fmt"
	"slices"
	"time"
)

// schedule says when a rule counts; nil: always.
type schedule struct {
	Type     string `json:"type"`
	Timezone string `json:"timezone"`
	Days     []int  `json:"daysOfWeek"` // 1 is Monday
	StartsOn int64  `json:"startsOn"`   // ms of the day
	EndsOn   int64  `json:"endsOn"`
	Items    []struct {
		Enabled  bool  `json:"enabled"`
		Day      int   `json:"dayOfWeek"`
		StartsOn int64 `json:"startsOn"`
		EndsOn   int64 `json:"endsOn"`
	} `json:"items"` // of CUSTOM

	zone *time.Location
}

func (s *schedule) check() (err error) {
	if s == nil || s.Type == "" || s.Type == "ANY_TIME" {
		return nil
	}
	if s.Type != "SPECIFIC_TIME" && s.Type != "CUSTOM" {
		return fmt.Errorf("schedule type %q is unknown", s.Type)
	}
	s.zone = time.UTC
	if s.Timezone != "" {
		if s.zone, err = time.LoadLocation(s.Timezone); err != nil {
			return fmt.Errorf("schedule: %w", err)
		}
	}
	return nil
}

func (s *schedule) active(ms int64) bool {
	if s == nil || s.zone == nil {
		return true
	}
	at := time.UnixMilli(ms).In(s.zone)
	day := (int(at.Weekday())+6)%7 + 1
	if s.Type == "SPECIFIC_TIME" {
		return (len(s.Days) == 0 || slices.Contains(s.Days, day)) && within(at, s.StartsOn, s.EndsOn)
	}
	for _, item := range s.Items {
		if item.Day == day {
			return item.Enabled && within(at, item.StartsOn, item.EndsOn)
		}
	}
	return false
}

// within reports whether the time of the day is between two others; the end may be on the next day, and 0 is the day's end.
func within(at time.Time, from, to int64) bool {
	hour, minute, second := at.Clock()
	now := (time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute + time.Duration(second)*time.Second).Milliseconds() + int64(at.Nanosecond()/1e6)
	if to == 0 {
		to = (24 * time.Hour).Milliseconds()
	}
	if from <= to {
		return now >= from && now <= to
	}
	return now >= from || now <= to
}
