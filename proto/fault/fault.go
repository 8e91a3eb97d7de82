// Package fault holds the kinds of error that cross a process boundary. Inside a process
// errors stay ordinary errors; at the boundary KindOf picks the kind, and the edge (MQTT
// reason code, HTTP status, CoAP code) is chosen from the kind alone.
package fault

import (
	"errors"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
)

// Kind is what an error means to whoever has to answer for it. The numbers are on the wire.
type Kind uint32

// The kinds. Internal is also what an error of no stated kind counts as.
const (
	Internal        Kind = iota
	Invalid              // the request itself is wrong; sending it again is pointless
	Unauthenticated      // who asks is not known
	Denied               // who asks may not
	NotFound             // what was asked for is not there (or is another tenant's)
	Conflict             // it exists already, or was changed meanwhile
	Limited              // too much, too fast, too large: later, or less
	Unavailable          // a part of the platform is away: later
)

var names = [...]string{"internal", "invalid", "unauthenticated", "denied", "not_found", "conflict", "limited", "unavailable"}

func (k Kind) String() string {
	if int(k) < len(names) {
		return names[k]
	}
	return "internal"
}

// Error is an error of a stated kind.
type Error struct {
	Kind    Kind
	Message string
	cause   error
}

func (e *Error) Error() string {
	if e.cause != nil {
		return e.Message + ": " + e.cause.Error()
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.cause }

// New returns an error of kind k whose message may be shown to whoever asked.
func New(k Kind, message string) error { return &Error{Kind: k, Message: message} }

// Wrap gives cause the kind k; message says what was being done.
func Wrap(k Kind, message string, cause error) error {
	return &Error{Kind: k, Message: message, cause: cause}
}

// KindOf returns the kind of the outermost Error in err's chain, Internal when there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// ToProto returns err as it goes on the wire; nil for nil.
func ToProto(err error) *sluicepb.Fault {
	if err == nil {
		return nil
	}
	return &sluicepb.Fault{Kind: uint32(KindOf(err)), Message: err.Error()}
}

// FromProto is ToProto's inverse.
func FromProto(f *sluicepb.Fault) error {
	if f == nil {
		return nil
	}
	return New(Kind(f.GetKind()), f.GetMessage())
}
