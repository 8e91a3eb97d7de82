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
)

// Standard returns the platform's topics, the owned ones with the given partition count. Reply topics
// are not among them: their readers make them.
func Standard(partitions int) []Spec {
	return []Spec{
		{Name: RuleEngine, Partitions: partitions, Retention: keep, RetentionBytes: -1, MaxBytes: UplinkBytes, Owned: true},
		{Name: Core, Partitions: partitions, Retention: keep, RetentionBytes: -1, MaxBytes: UplinkBytes, Owned: true},
		{Name: TransportRequests, Partitions: partitions, Retention: keep, RetentionBytes: -1, MaxBytes: UplinkBytes, Owned: true},
		{Name: Events, Partitions: 1, Retention: keepEvents, MaxBytes: UplinkBytes},
		{Name: DeadLetters, Partitions: 1, Retention: keep, RetentionBytes: -1, MaxBytes: DeadLetterBytes},
	}
}

// Embedded returns the platform's topics for the embedded broker. Nothing an owner has not handled is
// deleted there; dead letters are kept up to deadLetterBytes, the oldest going first.
func Embedded(partitions int, deadLetterBytes int64) []Spec {
	specs := Standard(partitions)
	for i := range specs {
		switch {
		case specs[i].Owned:
			specs[i].Retention = Forever
		case specs[i].Name == DeadLetters:
			specs[i].RetentionBytes = deadLetterBytes
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
