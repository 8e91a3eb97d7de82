// Package topics is the list of every topic: who writes it, who reads it, how it is kept.
package topics

// The topics core nodes own by partition number. All have the same partition count, so that
// whatever carries an entity's id meets on one node.
const (
	// RuleEngine carries DeviceUplink and RuleMessage (header Kind tells them apart), keyed by
	// originator: transports and core → the owner.
	RuleEngine = "tb.rule-engine"
	// Core carries CoreMessage keyed by entity: transports and core → the owner.
	Core = "tb.core"
	// TransportRequests carries TransportRequest keyed by credential: transports → the owner.
	TransportRequests = "tb.transport.api.requests"
)

// Queue returns the topic of a queue of rule messages; "" and Main are the main one.
func Queue(name string) string {
	if name == "" || name == MainQueue {
		return RuleEngine
	}
	return RuleEngine + "." + name
}

// The queues there always are. MainQueue's topic is RuleEngine itself.
const (
	MainQueue         = "Main"
	HighPriorityQueue = "HighPriority"
	SequentialQueue   = "SequentialByOriginator"
)

// Topics that everyone reads, or nobody owns.
const (
	// Events carries EntityEvent keyed by entity: core → all.
	Events = "tb.events"
	// DeadLetters carries DeadLetter keyed by originator: core → operator.
	DeadLetters = "tb.dead-letters"
)

// ScriptRequests carries ScriptCalls keyed by script: core → executors, which are one consumer group. Answers come on the caller's reply topic.
const ScriptRequests = "js.eval.requests"

// Prefixes of the topics one process reads alone.
const (
	TransportResponses = "tb.transport.api.responses." // + transport node: answers and DeviceDownlink
	CoreResponses      = "tb.core.responses."          // + core node: answers and live updates
)

// KindHeader names the record header that says what a record of tb.rule-engine or of a reply topic holds.
const KindHeader = "kind"

// Values of KindHeader. A record without the header is an uplink.
const (
	KindUplink      = "uplink"
	KindRuleMessage = "rule"
	// KindScript marks ScriptAnswers on a reply topic.
	KindScript = "script"
)

// TransportHeader names the record header by which a transport gives its node in the requests of devices to their rule chains. Only
// transports write it: it does not pass through tenants' hands, as metadata does.
const TransportHeader = "transport"

// RecordIndexHeader names the record header of a replayed uplink that says which one of its messages is
// wanted, as DeadLetter's record_index does. Without it all are.
const RecordIndexHeader = "record-index"
