package topics

import (
	"slices"
	"strings"
	"time"
)

// Forever, as a Retention, keeps messages until they are deleted by whoever handled them.
const Forever time.Duration = -1

// Spec is how a topic is kept.
type Spec struct {
	Name       string
	Partitions int
	// Retention is how long messages are kept.
	Retention time.Duration
	// RetentionBytes is how much of a partition is kept: 0 leaves it to the broker, -1 is all.
	RetentionBytes int64
	// MaxBytes is the largest batch, and so the largest message.
	MaxBytes int
	// AnyCount lets an existing topic have another partition count: no number in it means anything.
	AnyCount bool
	// Owned topics are read partition by partition by the core node that owns the number; all
	// of them have the same partition count.
	Owned bool
}

// Sizes and times of the standard topics.
const (
	UplinkBytes     = 1 << 20
	DeadLetterBytes = 4 << 20
	keep            = 14 * 24 * time.Hour
	keepEvents      = time.Hour
	// keepScripts outlives by far any call's budget.
	keepScripts = 10 * time.Minute
)

// Partitions of the topic executors share: three per executor of a large fleet, and few where every active one costs a disk its syncs.
const (
	ScriptPartitions         = 60
	EmbeddedScriptPartitions = 4
)

// Standard returns the platform's topics, the owned ones with the given partition count. Reply topics
// are not among them: their readers make them.
func Standard(partitions int) []Spec {
	return []Spec{
		queueSpec(MainQueue, partitions), queueSpec(HighPriorityQueue, partitions), queueSpec(SequentialQueue, partitions),
		{Name: Core, Partitions: partitions, Retention: keep, RetentionBytes: -1, MaxBytes: UplinkBytes, Owned: true},
		{Name: TransportRequests, Partitions: partitions, Retention: keep, RetentionBytes: -1, MaxBytes: UplinkBytes, Owned: true},
		{Name: Events, Partitions: 1, Retention: keepEvents, MaxBytes: UplinkBytes},
		{Name: ScriptRequests, Partitions: ScriptPartitions, Retention: keepScripts, MaxBytes: UplinkBytes, AnyCount: true},
		{Name: DeadLetters, Partitions: 1, Retention: keep, RetentionBytes: -1, MaxBytes: DeadLetterBytes},
	}
}

// Queues returns the topics of further queues.
func Queues(partitions int, names []string) []Spec {
	var specs []Spec
	for _, name := range names {
		specs = append(specs, queueSpec(name, partitions))
	}
	return specs
}

func queueSpec(name string, partitions int) Spec {
	return Spec{Name: Queue(name), Partitions: partitions, Retention: keep, RetentionBytes: -1, MaxBytes: UplinkBytes, Owned: true}
}

// Embedded returns the platform's topics for the embedded broker. Nothing an owner has not handled is
// deleted there; dead letters are kept up to deadLetterBytes, the oldest going first.
func Embedded(partitions int, queues []string, deadLetterBytes int64) []Spec {
	specs := append(Standard(partitions), Queues(partitions, queues)...)
	for i := range specs {
		switch {
		case specs[i].Owned:
			specs[i].Retention = Forever
		case specs[i].Name == DeadLetters:
			specs[i].RetentionBytes = deadLetterBytes
		case specs[i].Name == ScriptRequests:
			specs[i].Partitions = EmbeddedScriptPartitions
		}
	}
	return specs
}

// Owned reports whether name is a topic that core nodes own by partition.
func Owned(name string) bool {
	return name == Core || name == TransportRequests || Uplinks(name)
}

// Uplinks reports whether name is a topic of devices' messages: RuleEngine, or one of its queues.
func Uplinks(name string) bool {
	return name == RuleEngine || strings.HasPrefix(name, RuleEngine+".")
}

// Prefixed returns specs with names that begin with prefix, as Create and Check need them where several fleets share
// brokers. Clients are told the prefix (bus.Config) and use the names without it.
func Prefixed(prefix string, specs []Spec) []Spec {
	prefixed := slices.Clone(specs)
	for i := range prefixed {
		prefixed[i].Name = prefix + prefixed[i].Name
	}
	return prefixed
}
