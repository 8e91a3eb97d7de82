package telemetry

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// ParseRecords reads telemetry as JSON text: an object of values, an object with both ts and values, or an
// array of either. What has no time of its own gets at. Errors wrap ErrNotObject.
func ParseRecords(text string, at int64) ([]Timed, error) {
	if !strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "[") {
		record, err := parseRecord(text, at)
		if err != nil || len(record.Values) == 0 {
			return nil, err
		}
		return []Timed{record}, nil
	}
	var elements []json.RawMessage
	if err := json.Unmarshal([]byte(text), &elements); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotObject, err)
	}
	var records []Timed
	for i, element := range elements {
		record, err := parseRecord(string(element), at)
		if err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
		if len(record.Values) > 0 {
			records = append(records, record)
		}
	}
	return records, nil
}

func parseRecord(text string, at int64) (Timed, error) {
	var timed struct {
		Ts     *int64          `json:"ts"`
		Values json.RawMessage `json:"values"`
	}
	// An error here only says that it is not of the timed form; ParseObject finds what is wrong.
	if err := json.Unmarshal([]byte(text), &timed); err == nil && timed.Ts != nil && timed.Values != nil {
		text, at = string(timed.Values), *timed.Ts
	}
	kvs, err := ParseObject(text)
	return Timed{Time: at, Values: kvs}, err
}

// ParseScope reads a scope of attributes as the REST API names it.
func ParseScope(name string) (storage.Scope, bool) {
	switch name {
	case "CLIENT_SCOPE":
		return storage.Client, true
	case "SHARED_SCOPE":
		return storage.Shared, true
	case "SERVER_SCOPE":
		return storage.Server, true
	}
	return storage.Timeseries, false
}

// ScopeName is ParseScope's inverse; "" for Timeseries.
func ScopeName(s storage.Scope) string {
	switch s {
	case storage.Client:
		return "CLIENT_SCOPE"
	case storage.Shared:
		return "SHARED_SCOPE"
	case storage.Server:
		return "SERVER_SCOPE"
	}
	return ""
}
