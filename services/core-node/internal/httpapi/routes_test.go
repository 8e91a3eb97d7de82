package httpapi_test

import (
	"testing"

	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi"
)

// TestEachRouteHasOneHandler: the router would let the later one win without a word.
func TestEachRouteHasOneHandler(t *testing.T) {
	seen := map[[2]string]bool{}
	for _, one := range httpapi.Routes() {
		if seen[one] {
			t.Errorf("%s %s is registered twice", one[0], one[1])
		}
		seen[one] = true
	}
}
