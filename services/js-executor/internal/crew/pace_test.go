package crew

import (
	"testing"
	"time"

	"github.com/sluice-iot/sluice/proto/script"
)

// A script is excused for a machine without processor time now and then, and not for ever.
func TestC28_NoScriptIsExcusedForEver(t *testing.T) {
	p := newPaces(2)
	id := script.ID{1}
	for range mostAway {
		if !p.excused(id) {
			t.Fatal("not excused")
		}
	}
	if p.excused(id) {
		t.Error("excused for ever")
	}
	p.ran(id, time.Millisecond, time.Now())
	if !p.excused(id) {
		t.Error("not excused after a run that ended")
	}
}
