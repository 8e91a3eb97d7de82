package checkpoint

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestMessagesGoOnInTheQueue(t *testing.T) {
	for _, queue := range []string{"", "Main", "HighPriority"} {
		b := rulenodetest.New(t)
		b.Services.Queue = queue
		in := b.Message("T", `{"a":1}`, map[string]string{"k": "v"})
		want := rulenodetest.Outcome{Emitted: []rulenodetest.Emitted{{
			Relation: rule.Success, Type: "T", Data: `{"a":1}`, Metadata: map[string]string{"k": "v"}, Originator: in.Originator,
			Requeued: true, Queue: queue,
		}}}
		if diff := cmp.Diff(want, b.Process(b.Node(Kind(), ""), in)); diff != "" {
			t.Errorf("%q: %s", queue, diff)
		}
	}
}

func TestTheQueueOfOldConfigurationsIsMoved(t *testing.T) {
	for config, want := range map[string]string{`{"queueName":"HighPriority"}`: "HighPriority", `{}`: "", `{"queueName":null}`: ""} {
		if upgraded, queue := rulenodetest.Upgrade(t, Kind(), 0, config); upgraded != `{}` || queue != want {
			t.Errorf("%s becomes %s with queue %q", config, upgraded, queue)
		}
	}
}
