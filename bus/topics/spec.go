package topics

import "time"

// Spec is how a topic is kept.
type Spec struct {
	Name       string
	Partitions int
	Retention  time.Duration
	// MaxBytes is the largest message.
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
		{Name: RuleEngine, Partitions: partitions, Retention: keep, MaxBytes: UplinkBytes, Owned: true},
		{Name: Core, Partitions: partitions, Retention: keep, MaxBytes: UplinkBytes, Owned: true},
		{Name: TransportRequests, Partitions: partitions, Retention: keep, MaxBytes: UplinkBytes, Owned: true},
		{Name: Events, Partitions: 1, Retention: keepEvents, MaxBytes: UplinkBytes},
		{Name: DeadLetters, Partitions: 1, Retention: keep, MaxBytes: DeadLetterBytes},
	}
}
