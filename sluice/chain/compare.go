package chain

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// compareJSON says, a line each, where got lacks what want has. An object may have further fields; an array has as many
// elements, in order. want that is empty is content with anything.
func compareJSON(at string, want, got json.RawMessage) []string {
	if len(want) == 0 {
		return nil
	}
	var wanted, have any
	if err := json.Unmarshal(want, &wanted); err != nil {
		return []string{fmt.Sprintf("    %s: what is expected is no JSON: %v", at, err)}
	}
	if err := json.Unmarshal(got, &have); err != nil {
		return []string{unlike(at, wanted, string(got))}
	}
	return compare(at, wanted, have)
}

func compare(at string, want, got any) (differs []string) {
	switch want := want.(type) {
	case map[string]any:
		object, is := got.(map[string]any)
		if !is {
			return []string{unlike(at, want, got)}
		}
		for _, key := range slices.Sorted(maps.Keys(want)) {
			value, there := object[key]
			if !there {
				differs = append(differs, fmt.Sprintf("    %s.%s: want %s, it is not there", at, key, encoded(want[key])))
				continue
			}
			differs = append(differs, compare(at+"."+key, want[key], value)...)
		}
		return differs
	case []any:
		array, is := got.([]any)
		if !is || len(array) != len(want) {
			return []string{unlike(at, want, got)}
		}
		for i := range want {
			differs = append(differs, compare(fmt.Sprintf("%s[%d]", at, i), want[i], array[i])...)
		}
		return differs
	}
	if want != got {
		return []string{unlike(at, want, got)}
	}
	return nil
}

func unlike(at string, want, got any) string {
	return fmt.Sprintf("    %s: want %s, got %s", at, encoded(want), encoded(got))
}
