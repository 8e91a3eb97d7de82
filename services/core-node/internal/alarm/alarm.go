// Package alarm keeps alarms: documents with a life of their own, of which at most one of a type is
// active at an entity.
//
// The document decides. While an alarm is not cleared it holds a claim on its originator and type, so that finding
// the active one is one read and a second one cannot be made. Lists are rows beside it (index.go).
package alarm

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/reference"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
)

// Severity is how bad an alarm is.
type Severity string

// The severities, the worst first.
const (
	Critical      Severity = "CRITICAL"
	Major         Severity = "MAJOR"
	Minor         Severity = "MINOR"
	Warning       Severity = "WARNING"
	Indeterminate Severity = "INDETERMINATE"
)

var severities = []Severity{Critical, Major, Minor, Warning, Indeterminate}

// ParseSeverity reads a severity by its name, whatever its case; the error is fault.Invalid.
func ParseSeverity(text string) (Severity, error) {
	s := Severity(strings.ToUpper(text))
	if !slices.Contains(severities, s) {
		return "", fault.New(fault.Invalid, fmt.Sprintf("severity: %q is unknown", text))
	}
	return s, nil
}

// rank is 0 for the worst.
func (s Severity) rank() int { return slices.Index(severities, s) }

// Status is what became of an alarm so far.
type Status string

// The statuses.
const (
	ActiveUnack  Status = "ACTIVE_UNACK"
	ActiveAck    Status = "ACTIVE_ACK"
	ClearedUnack Status = "CLEARED_UNACK"
	ClearedAck   Status = "CLEARED_ACK"
)

func statusOf(cleared, acknowledged bool) Status {
	switch {
	case cleared && acknowledged:
		return ClearedAck
	case cleared:
		return ClearedUnack
	case acknowledged:
		return ActiveAck
	}
	return ActiveUnack
}

// Propagation says in whose lists an alarm appears besides its originator's.
type Propagation struct {
	Propagate         bool // to what the originator is related to, upwards
	PropagateToOwner  bool // to the originator's customer, or else the tenant
	PropagateToTenant bool
	RelationTypes     []string // that Propagate follows; none means all
}

// Alarm is one alarm. Times are ms; 0 is not yet.
type Alarm struct {
	ID           ident.ID
	Tenant       ident.TenantID
	Customer     ident.CustomerID // the originator's when it was created
	Type         string
	Originator   ident.EntityID
	Severity     Severity
	Acknowledged bool
	Cleared      bool
	Assignee     ident.ID // a user
	CreatedTime  int64
	StartTs      int64
	EndTs        int64
	AckTs        int64
	ClearTs      int64
	AssignTs     int64
	Details      json.RawMessage // any JSON, or none
	Propagation
	// ClearedBy names what cleared it, for who may clear twice and has to find it again; zero if nobody has.
	ClearedBy ident.ID
	// Places are the entities in whose lists it appears.
	Places  []ident.EntityID
	Version int64
}

// Status is what became of the alarm so far.
func (a Alarm) Status() Status { return statusOf(a.Cleared, a.Acknowledged) }

// Entity returns the alarm's own id.
func (a Alarm) Entity() ident.EntityID { return ident.EntityID{Type: ident.Alarm, ID: a.ID} }

// View is an Alarm as the REST API and rule messages show it (rest-api.md §3.5).
type View struct {
	ID                     reference.Entity  `json:"id"`
	CreatedTime            int64             `json:"createdTime"`
	TenantID               reference.Entity  `json:"tenantId"`
	CustomerID             reference.Entity  `json:"customerId"`
	Type                   string            `json:"type"`
	Originator             reference.Entity  `json:"originator"`
	Severity               Severity          `json:"severity"`
	Acknowledged           bool              `json:"acknowledged"`
	Cleared                bool              `json:"cleared"`
	AssigneeID             *reference.Entity `json:"assigneeId"`
	StartTs                int64             `json:"startTs"`
	EndTs                  int64             `json:"endTs"`
	AckTs                  int64             `json:"ackTs"`
	ClearTs                int64             `json:"clearTs"`
	AssignTs               int64             `json:"assignTs"`
	Details                json.RawMessage   `json:"details"`
	Propagate              bool              `json:"propagate"`
	PropagateToOwner       bool              `json:"propagateToOwner"`
	PropagateToTenant      bool              `json:"propagateToTenant"`
	PropagateRelationTypes []string          `json:"propagateRelationTypes"`
	Name                   string            `json:"name"`
	Status                 Status            `json:"status"`
}

// View returns the alarm as it is shown.
func (a Alarm) View() View {
	details := a.Details
	if len(details) == 0 {
		details = json.RawMessage("null")
	}
	types := a.RelationTypes
	if types == nil {
		types = []string{}
	}
	return View{
		reference.Of(ident.Alarm, a.ID), a.CreatedTime, reference.Of(ident.Tenant, a.Tenant.ID),
		reference.Of(ident.Customer, a.Customer.ID), a.Type,
		reference.Entity{EntityID: a.Originator},
		a.Severity,
		a.Acknowledged, a.Cleared, reference.Optional(ident.User, a.Assignee), a.StartTs, a.EndTs, a.AckTs, a.ClearTs, a.AssignTs,
		details, a.Propagate, a.PropagateToOwner, a.PropagateToTenant, types, a.Type, a.Status(),
	}
}

// Text returns the alarm as rule messages carry it: the JSON of its View.
func (a Alarm) Text() string {
	text, err := json.Marshal(a.View())
	if err != nil {
		return "{}" // details are checked before they are stored
	}
	return string(text)
}

func activeClaim(tenant ident.TenantID, originator ident.EntityID, kind string) string {
	return "alarm-active/" + tenant.String() + "/" + originator.Type.String() + "/" + originator.ID.String() + "/" + kind
}

func clearedClaim(tenant ident.TenantID, by ident.ID) string {
	return "alarm-cleared-by/" + tenant.String() + "/" + by.String()
}

func (a Alarm) document() (storage.Document, error) {
	body, err := json.Marshal(a)
	if err != nil {
		return storage.Document{}, fault.Wrap(fault.Invalid, "details: is not valid JSON", err)
	}
	claims := []string{"id/ALARM/" + a.ID.String()}
	if !a.Cleared {
		claims = append(claims, activeClaim(a.Tenant, a.Originator, a.Type))
	}
	if a.Cleared && !a.ClearedBy.IsZero() {
		claims = append(claims, clearedClaim(a.Tenant, a.ClearedBy))
	}
	return storage.Document{Tenant: a.Tenant, ID: a.Entity(), Version: a.Version, Body: body, Claims: claims}, nil
}

func decode(d storage.Document) (Alarm, error) {
	var a Alarm
	if err := json.Unmarshal(d.Body, &a); err != nil {
		return a, fmt.Errorf("decode %v: %w", d.ID, err)
	}
	a.Version = d.Version
	if string(a.Details) == "null" {
		a.Details = nil
	}
	return a, nil
}

const maxType = 255

func checkType(kind string) error {
	switch {
	case kind == "":
		return fault.New(fault.Invalid, "type: Alarm type should be specified!")
	case utf8.RuneCountInString(kind) > maxType:
		return fault.New(fault.Invalid, "type: length must be equal or less than 255")
	case !utf8.ValidString(kind) || strings.ContainsFunc(kind, unicode.IsControl):
		return fault.New(fault.Invalid, "type: contains a control character")
	}
	return nil
}
