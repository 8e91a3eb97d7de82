// Package event keeps what entities and rule nodes tell of their life: debug events, errors,
// starts and stops. Events are small, many, and go after a time; they are written aside of what causes
// them and may be dropped, which is counted, but never hold anything up.
package event

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/sluice-iot/sluice/proto/ident"
)

// Types of event.
const (
	Lifecycle      = "LC_EVENT"
	Error          = "ERROR"
	Stats          = "STATS"
	DebugRuleNode  = "DEBUG_RULE_NODE"
	DebugRuleChain = "DEBUG_RULE_CHAIN"
)

// Known reports whether kind is a type of event there is.
func Known(kind string) bool {
	switch kind {
	case Lifecycle, Error, Stats, DebugRuleNode, DebugRuleChain:
		return true
	}
	return false
}

// Event is one event of an entity.
type Event struct {
	Tenant ident.TenantID
	Entity ident.EntityID
	Type   string
	Time   int64 // ms
	Body   json.RawMessage
}

// Stored is an event that was read.
type Stored struct {
	Event
	ID ident.ID
}

// RuleNodeBody is the body of a DEBUG_RULE_NODE event.
type RuleNodeBody struct {
	Server       string `json:"server"`
	Type         string `json:"type"` // IN or OUT
	EntityID     string `json:"entityId"`
	EntityType   string `json:"entityType"`
	MsgID        string `json:"msgId"`
	MsgType      string `json:"msgType"`
	DataType     string `json:"dataType"` // JSON, TEXT or BINARY
	RelationType string `json:"relationType,omitempty"`
	Data         string `json:"data"`
	Metadata     string `json:"metadata"` // a JSON object as text
	Error        string `json:"error,omitempty"`
}

// RuleChainBody is the body of a DEBUG_RULE_CHAIN event.
type RuleChainBody struct {
	Server  string `json:"server"`
	Message string `json:"message"`
	Error   string `json:"error,omitempty"`
}

// LifecycleBody is the body of an LC_EVENT event.
type LifecycleBody struct {
	Server  string `json:"server"`
	Event   string `json:"event"` // such as STARTED, UPDATED or STOPPED
	Success bool   `json:"success"`
	Error   string `json:"error,omitempty"`
}

// ErrorBody is the body of an ERROR event.
type ErrorBody struct {
	Server string `json:"server"`
	Method string `json:"method"`
	Error  string `json:"error"`
}

// StatsBody is the body of a STATS event.
type StatsBody struct {
	Server            string `json:"server"`
	MessagesProcessed int64  `json:"messagesProcessed"`
	ErrorsOccurred    int64  `json:"errorsOccurred"`
}

// Cut shortens text for a body to about most bytes, at a whole character, and says by how much.
func Cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + "...[truncated " + strconv.Itoa(len(text)-most) + " bytes]"
}

// Settings are what operators set of events.
type Settings struct {
	TTL       time.Duration `name:"event-ttl" help:"How long events are kept." default:"168h"`
	Pending   int           `name:"event-pending" help:"Most events waiting to be stored; more are dropped and counted." default:"8192"`
	BodyBytes int           `name:"event-body-bytes" help:"Largest event stored, in bytes; larger ones are dropped and counted." default:"65536"`
	Hourly    int           `name:"event-debug-hourly" help:"Most debug events of one tenant stored in an hour; more are dropped and counted." default:"50000"`
	Scan      int           `name:"event-scan" help:"Most events looked through by one request." default:"20000"`
}

// DefaultSettings are the settings nobody changed.
func DefaultSettings() Settings {
	return Settings{TTL: 7 * 24 * time.Hour, Pending: 8192, BodyBytes: 64 << 10, Hourly: 50_000, Scan: 20_000}
}

const dayMillis = 24 * 60 * 60 * 1000

// group is where the events of an entity, type and day lie.
func group(tenant ident.TenantID, e ident.EntityID, kind string, day int64) string {
	return fmt.Sprintf("event/%s/%s/%s/%s/%d", tenant.ID, e.Type, e.ID, kind, day)
}

// key orders events by time; a second event of one millisecond has another id.
func key(time int64, id ident.ID) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(time)), id[:]...)
}

func dayOf(time int64) int64 { return time / dayMillis }
