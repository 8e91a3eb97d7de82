package httpapi_test

import (
	"testing"

	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
)

func TestQueuesAreShown(t *testing.T) {
	p := httpapitest.Start(t)
	p.Tenant(t, "Queues", "queues@example.org", "secret-1")
	c := p.Login(t, "queues@example.org", "secret-1")
	var list struct {
		Data []struct {
			ID   struct{ ID string }
			Name string
		}
		TotalElements int
	}
	c.Get("/api/queues?serviceType=TB_RULE_ENGINE&pageSize=2&page=0", &list)
	if list.TotalElements != 3 || len(list.Data) != 2 || list.Data[0].Name != "Main" {
		t.Fatalf("queues: %+v", list)
	}
	var one struct {
		Name               string
		SubmitStrategy     struct{ Type string }
		ProcessingStrategy struct{ Type string }
	}
	c.Get("/api/queues/"+list.Data[1].ID.ID, &one)
	if one.Name != "HighPriority" || one.SubmitStrategy.Type != "BURST" || one.ProcessingStrategy.Type != "RETRY_FAILED_AND_TIMED_OUT" {
		t.Errorf("the second: %+v", one)
	}
	c.Get("/api/queues/name/SequentialByOriginator", &one)
	if one.SubmitStrategy.Type != "SEQUENTIAL_BY_ORIGINATOR" {
		t.Errorf("by name: %+v", one)
	}
}
