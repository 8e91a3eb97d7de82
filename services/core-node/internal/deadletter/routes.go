package deadletter

import (
	"encoding/json"
	"net/http"

	"github.com/sluice-iot/sluice/bus/topics"
	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	values "github.com/sluice-iot/sluice/proto/telemetry"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// Register offers l to operators.
func (l *Log) Register(routes process.AdminRoutes) {
	routes.Handle("GET /dead-letters", http.HandlerFunc(l.list))
	routes.Handle("GET /dead-letters/{id}", l.one(func(r *http.Request, id ident.ID) (any, error) {
		e, err := l.Show(r.Context(), id)
		if err != nil {
			return nil, err
		}
		return whole(e), nil
	}))
	routes.Handle("POST /dead-letters/{id}/replay", l.one(func(r *http.Request, id ident.ID) (any, error) {
		return struct{}{}, l.Replay(r.Context(), id)
	}))
	routes.Handle("POST /dead-letters/{id}/discard", l.one(func(r *http.Request, id ident.ID) (any, error) {
		return struct{}{}, l.Discard(r.Context(), id)
	}))
}

// listed is a letter in a list.
type listed struct {
	ID             string `json:"id"`
	TenantID       string `json:"tenantId"`
	OriginatorType string `json:"originatorType"`
	OriginatorID   string `json:"originatorId"`
	OriginatorName string `json:"originatorName"`
	Topic          string `json:"topic"`
	Partition      int32  `json:"partition"`
	Offset         int64  `json:"offset"`
	RecordIndex    int32  `json:"recordIndex"`
	Error          string `json:"error"`
	Where          string `json:"where"`
	Attempts       int32  `json:"attempts"`
	FailedAt       int64  `json:"failedAt"` // ms
	State          string `json:"state"`
}

// shown is a letter with what it carries: the message as text where it is telemetry, and as it is.
type shown struct {
	listed
	Kind    string          `json:"kind"`
	Key     []byte          `json:"key"`
	Value   []byte          `json:"value"`
	Message json.RawMessage `json:"message,omitempty"`
}

func brief(e Entry) listed {
	l := e.Letter
	text := func(raw []byte) string {
		id, err := ident.FromBytes(raw)
		if err != nil || id.IsZero() {
			return ""
		}
		return id.String()
	}
	return listed{
		ID: text(l.GetId()), TenantID: text(l.GetTenantId()),
		OriginatorType: l.GetOriginator().GetType().String(), OriginatorID: text(l.GetOriginator().GetId()),
		OriginatorName: l.GetOriginatorName(), Topic: l.GetTopic(), Partition: l.GetPartition(), Offset: l.GetOffset(),
		RecordIndex: l.GetRecordIndex(), Error: l.GetError(), Where: l.GetWhere(), Attempts: l.GetAttempts(),
		FailedAt: l.GetFailedAtMs(), State: stateName(e.State),
	}
}

func whole(e Entry) shown {
	s := shown{listed: brief(e), Kind: e.Letter.GetKind(), Key: e.Letter.GetKey(), Value: e.Letter.GetValue()}
	var u values.Uplink
	index := int(e.Letter.GetRecordIndex())
	if s.Kind == topics.KindRuleMessage || values.ParseUplink(s.Value, &u) != nil {
		return s
	}
	switch {
	case index >= 0 && index < len(u.Telemetry):
		record := u.Telemetry[index]
		s.Message = telemetry.AppendRecord(nil, telemetry.Timed{Time: record.Time, Values: record.Values})
	case index == len(u.Telemetry):
		s.Message = telemetry.AppendObject(nil, u.Attributes)
	}
	return s
}

func (l *Log) list(w http.ResponseWriter, r *http.Request) {
	entries, err := l.List(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	all := make([]listed, len(entries))
	for i, e := range entries {
		all[i] = brief(e)
	}
	write(w, http.StatusOK, all)
}

func (l *Log) one(answer func(*http.Request, ident.ID) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := ident.Parse(r.PathValue("id"))
		if err != nil {
			fail(w, fault.Wrap(fault.Invalid, "dead letter", err))
			return
		}
		body, err := answer(r, id)
		if err != nil {
			fail(w, err)
			return
		}
		write(w, http.StatusOK, body)
	})
}

func fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch fault.KindOf(err) {
	case fault.Invalid:
		status = http.StatusBadRequest
	case fault.NotFound:
		status = http.StatusNotFound
	case fault.Conflict:
		status = http.StatusConflict
	case fault.Unavailable:
		status = http.StatusServiceUnavailable
	}
	write(w, status, map[string]string{"error": err.Error()})
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// Whoever does not wait for the answer does not want it.
	_ = json.NewEncoder(w).Encode(body)
}
