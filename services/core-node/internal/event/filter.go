package event

import (
	"encoding/json"
	"strings"
)

// Filter lets events through by what their bodies say; nil fields let all. Texts are looked for
// anywhere in their field, whatever the case; ids and directions are compared whole.
type Filter struct {
	Server   *string `json:"server"`
	IsError  *bool   `json:"isError"`
	ErrorStr *string `json:"errorStr"`
	// DEBUG_RULE_NODE
	MsgDirectionType *string `json:"msgDirectionType"` // IN or OUT
	EntityID         *string `json:"entityId"`
	EntityType       *string `json:"entityType"`
	MsgID            *string `json:"msgId"`
	MsgType          *string `json:"msgType"`
	RelationType     *string `json:"relationType"`
	DataSearch       *string `json:"dataSearch"`
	MetadataSearch   *string `json:"metadataSearch"`
	// DEBUG_RULE_CHAIN
	Message *string `json:"message"`
	// LC_EVENT
	Event  *string `json:"event"`
	Status *string `json:"status"` // Success or Failure
	// ERROR
	Method *string `json:"method"`
	// STATS
	MinMessagesProcessed *int64 `json:"minMessagesProcessed"`
	MaxMessagesProcessed *int64 `json:"maxMessagesProcessed"`
	MinErrorsOccurred    *int64 `json:"minErrorsOccurred"`
	MaxErrorsOccurred    *int64 `json:"maxErrorsOccurred"`
}

func (f Filter) empty() bool { return f == Filter{} }

// fields is every field a filter may look at.
type fields struct {
	Server            string
	Error             string
	Type              string
	EntityID          string `json:"entityId"`
	EntityType        string
	MsgID             string `json:"msgId"`
	MsgType           string
	RelationType      string
	Data              string
	Metadata          string
	Message           string
	Event             string
	Success           bool
	Method            string
	MessagesProcessed int64
	ErrorsOccurred    int64
}

func (f Filter) passes(s Stored) bool {
	if f.empty() {
		return true
	}
	var is fields
	if json.Unmarshal(s.Body, &is) != nil {
		return false
	}
	return holds(f.Server, is.Server) && holds(f.ErrorStr, is.Error) && holds(f.MsgType, is.MsgType) &&
		holds(f.RelationType, is.RelationType) && holds(f.DataSearch, is.Data) && holds(f.MetadataSearch, is.Metadata) &&
		holds(f.Message, is.Message) && holds(f.Event, is.Event) && holds(f.Method, is.Method) &&
		equals(f.MsgDirectionType, is.Type) && equals(f.EntityID, is.EntityID) && equals(f.EntityType, is.EntityType) &&
		equals(f.MsgID, is.MsgID) && f.rightState(s.Type, is) && f.inRange(is)
}

func (f Filter) rightState(kind string, is fields) bool {
	failed := is.Error != "" || kind == Lifecycle && !is.Success
	if f.IsError != nil && *f.IsError && !failed {
		return false // false asks for nothing, as in the reference platform
	}
	return f.Status == nil || *f.Status == "" || strings.EqualFold(*f.Status, "Success") == is.Success
}

func (f Filter) inRange(is fields) bool {
	return within(f.MinMessagesProcessed, f.MaxMessagesProcessed, is.MessagesProcessed) &&
		within(f.MinErrorsOccurred, f.MaxErrorsOccurred, is.ErrorsOccurred)
}

func holds(wanted *string, text string) bool {
	return wanted == nil || *wanted == "" || strings.Contains(strings.ToLower(text), strings.ToLower(*wanted))
}

func equals(wanted *string, text string) bool {
	return wanted == nil || *wanted == "" || strings.EqualFold(*wanted, text)
}

func within(least, most *int64, n int64) bool {
	return (least == nil || n >= *least) && (most == nil || n < *most)
}
