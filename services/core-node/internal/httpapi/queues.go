package httpapi

import (
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/entity"
	"github.com/sluice-iot/sluice/services/core-node/internal/queue"
)

// queueRoutes are those of rest-api §2.15 that read. Queues are the operator's settings: nobody changes them here.
func (a *api) queueRoutes() []route {
	return []route{
		{"GET", "/api/queues", admins(), a.listQueues},
		{"GET", "/api/queues/name/{queueName}", admins(), a.queueByName},
		{"GET", "/api/queues/{queueId}", admins(), a.queueByID},
	}
}

// queueBody is Queue (rest-api §3.5).
type queueBody struct {
	ID                    refBody `json:"id"`
	CreatedTime           int64   `json:"createdTime"`
	TenantID              refBody `json:"tenantId"`
	Name                  string  `json:"name"`
	Topic                 string  `json:"topic"`
	PollInterval          int     `json:"pollInterval"`
	Partitions            int     `json:"partitions"`
	ConsumerPerPartition  bool    `json:"consumerPerPartition"`
	PackProcessingTimeout int64   `json:"packProcessingTimeout"`
	SubmitStrategy        struct {
		Type      queue.Submit `json:"type"`
		BatchSize int          `json:"batchSize"`
	} `json:"submitStrategy"`
	ProcessingStrategy struct {
		Type                 queue.Processing `json:"type"`
		Retries              int              `json:"retries"`
		FailurePercentage    float64          `json:"failurePercentage"`
		PauseBetweenRetries  int64            `json:"pauseBetweenRetries"`
		MaxPauseBetweenRetry int64            `json:"maxPauseBetweenRetries"`
	} `json:"processingStrategy"`
}

// systemTenant is the id that the reference platform's own entities have as their tenant's.
const systemTenant = "13814000-1dd2-11b2-8080-808080808080"

func (a *api) queueView(q queue.Queue) queueBody {
	b := queueBody{
		ID: refBody{"QUEUE", queueID(q).String()}, TenantID: refBody{"TENANT", systemTenant}, Name: q.Name, Topic: q.Topic(),
		PollInterval: 25, Partitions: a.Partitions, ConsumerPerPartition: true, PackProcessingTimeout: q.Timeout.Milliseconds(),
	}
	b.SubmitStrategy.Type, b.SubmitStrategy.BatchSize = q.Submit, q.BatchSize
	p := &b.ProcessingStrategy
	p.Type, p.Retries, p.FailurePercentage = q.Processing, max(q.Retries, 0), q.FailurePercentage // 0 has no end
	p.PauseBetweenRetries, p.MaxPauseBetweenRetry = int64(q.Pause.Seconds()), int64(q.MaxPause.Seconds())
	return b
}

// queueID follows from the name: every node tells the same.
func queueID(q queue.Queue) ident.ID { return ident.Derive(ident.ID{}, "queue "+q.Name) }

func (a *api) listQueues(r *http.Request, _ auth.Principal) (any, error) {
	asked, err := a.pageRequest(r)
	if err != nil {
		return nil, err
	}
	if kind := r.URL.Query().Get("serviceType"); kind != "TB_RULE_ENGINE" && kind != "TB-RULE-ENGINE" {
		return paged(entity.Page[queue.Queue]{}, asked, a.queueView), nil
	}
	var found []queue.Queue
	for _, q := range a.Queues {
		if strings.Contains(strings.ToLower(q.Name), strings.ToLower(asked.Search)) {
			found = append(found, q)
		}
	}
	total := len(found)
	found = found[min(asked.Page*asked.Size, total):min((asked.Page+1)*asked.Size, total)]
	return paged(entity.Page[queue.Queue]{Items: found, Total: total}, asked, a.queueView), nil
}

func (a *api) queueByName(r *http.Request, _ auth.Principal) (any, error) {
	name := chi.URLParam(r, "queueName")
	return a.queueThat(func(q queue.Queue) bool { return q.Name == name })
}

func (a *api) queueByID(r *http.Request, _ auth.Principal) (any, error) {
	id, err := pathID(r, "queueId")
	if err != nil {
		return nil, err
	}
	return a.queueThat(func(q queue.Queue) bool { return queueID(q) == id })
}

func (a *api) queueThat(is func(queue.Queue) bool) (any, error) {
	at := slices.IndexFunc(a.Queues, is)
	if at < 0 {
		return nil, fault.New(fault.NotFound, "Requested item wasn't found!")
	}
	return a.queueView(a.Queues[at]), nil
}
