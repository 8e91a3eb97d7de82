package corenode

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sluice-iot/sluice/bus/bustest"
	"github.com/sluice-iot/sluice/bus/topics"
)

// A node that is alone tells operators that it owns every partition, and what waits in each.
func TestClusterOfOne(t *testing.T) {
	n := start(t, func(c *Config) { c.NodeID = "alone" })
	var told cluster
	eventually(t, "the node tells of the cluster", func() bool {
		_, pattern := n.admin.Handler(httptest.NewRequest(http.MethodGet, "/cluster", nil))
		return pattern != ""
	})
	if err := json.Unmarshal([]byte(n.admin.ask(t, http.MethodGet, "/cluster")), &told); err != nil {
		t.Fatal(err)
	}
	if len(told.Trouble) > 0 || len(told.Nodes) != 1 || told.Nodes[0].ID != "alone" || len(told.Partitions) != bustest.Partitions {
		t.Fatalf("told %+v", told)
	}
	for i, p := range told.Partitions {
		if _, counted := p.Waiting[topics.RuleEngine]; p.Partition != i || p.Owner != "alone" || !counted {
			t.Errorf("partition %d is told as %+v", i, p)
		}
	}
}
