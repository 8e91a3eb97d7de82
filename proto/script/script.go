// Package script is how calls of tenants' scripts and their answers are written: the messages of script_call.proto,
// read and written without an object per field, as they are many. It also says what makes a script the script it is.
package script

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/proto/ident"
)

// ID is what a script is called by. Equal ids mean the same tenant, parameters and body.
type ID [16]byte

// String returns the id in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Identify returns the id of a tenant's script: the beginning of a SHA-256, so that no tenant can make a script that is taken for another's.
func Identify(tenant ident.TenantID, parameters []string, body string) (id ID) {
	h := sha256.New()
	var length [8]byte
	write := func(text string) {
		binary.BigEndian.PutUint64(length[:], uint64(len(text)))
		_, _ = h.Write(length[:]) // a hash never fails
		_, _ = h.Write([]byte(text))
	}
	_, _ = h.Write(tenant.ID[:])
	for _, p := range parameters {
		write(p)
	}
	write(body)
	copy(id[:], h.Sum(nil))
	return id
}

// Outcome is how a call ended.
type Outcome = sluicepb.ScriptOutcome

// The outcomes, as script_call.proto describes them.
const (
	OK             = sluicepb.ScriptOutcome_SCRIPT_OK
	NotFound       = sluicepb.ScriptOutcome_SCRIPT_NOT_FOUND
	Compilation    = sluicepb.ScriptOutcome_SCRIPT_COMPILATION
	Runtime        = sluicepb.ScriptOutcome_SCRIPT_RUNTIME
	Timeout        = sluicepb.ScriptOutcome_SCRIPT_TIMEOUT
	Memory         = sluicepb.ScriptOutcome_SCRIPT_MEMORY
	ResultTooLarge = sluicepb.ScriptOutcome_SCRIPT_RESULT_TOO_LARGE
	Pending        = sluicepb.ScriptOutcome_SCRIPT_PENDING
	Away           = sluicepb.ScriptOutcome_SCRIPT_AWAY
)

// Call is a ScriptCall. Parameters and Body are empty unless the executor needs them.
type Call struct {
	ID         uint64
	Script     ID
	Tenant     ident.TenantID
	Parameters []string
	Body       string
	Args       []string
	Budget     time.Duration // how long the caller waits; milliseconds on the wire
	Timeout    time.Duration // how long the script may run; milliseconds on the wire
	Compile    bool
}

// Answer is a ScriptAnswer.
type Answer struct {
	ID        uint64
	Outcome   Outcome
	Text      string
	Line      int
	Ran       time.Duration // microseconds on the wire
	Undefined bool
}

// Fields of script_call.proto.
const (
	fieldItem   = 1 // of ScriptCalls and ScriptAnswers
	fieldSource = 2

	callID, callScript, callTenant, callParameters, callBody, callArgs, callBudget, callTimeout, callCompile = 1, 2, 3, 4, 5, 6, 7, 8, 9
	answerID, answerOutcome, answerText, answerLine, answerRan, answerUndefined                              = 1, 2, 3, 4, 5, 6
)

// AppendCall adds c to the ScriptCalls in b.
func AppendCall(b []byte, c *Call) []byte {
	b = protowire.AppendTag(b, fieldItem, protowire.BytesType)
	return appendSized(b, func(b []byte) []byte {
		b = appendNumber(b, callID, c.ID)
		b = appendText(b, callScript, string(c.Script[:]))
		b = appendText(b, callTenant, string(c.Tenant.ID[:]))
		for _, p := range c.Parameters {
			b = appendText(b, callParameters, p)
		}
		if c.Body != "" {
			b = appendText(b, callBody, c.Body)
		}
		for _, a := range c.Args {
			b = appendText(b, callArgs, a)
		}
		b = appendNumber(b, callBudget, uint64(c.Budget.Milliseconds()))
		b = appendNumber(b, callTimeout, uint64(c.Timeout.Milliseconds()))
		return appendBool(b, callCompile, c.Compile)
	})
}

// AppendAnswer adds a to the ScriptAnswers in b.
func AppendAnswer(b []byte, a *Answer) []byte {
	b = protowire.AppendTag(b, fieldItem, protowire.BytesType)
	return appendSized(b, func(b []byte) []byte {
		b = appendNumber(b, answerID, a.ID)
		b = appendNumber(b, answerOutcome, uint64(a.Outcome))
		if a.Text != "" {
			b = appendText(b, answerText, a.Text)
		}
		b = appendNumber(b, answerLine, uint64(a.Line))
		b = appendNumber(b, answerRan, uint64(a.Ran.Microseconds()))
		return appendBool(b, answerUndefined, a.Undefined)
	})
}

// AppendSource ends the ScriptCalls in b with its reply topic, or the ScriptAnswers with the executor's name.
func AppendSource(b []byte, source string) []byte { return appendText(b, fieldSource, source) }

// appendSized writes what write appends behind its length.
func appendSized(b []byte, write func([]byte) []byte) []byte {
	const room = 4 // a length below 2^28, padded: readers take it as well as the shortest form
	start := len(b)
	b = write(append(b, make([]byte, room)...))
	size := len(b) - start - room
	for i := range room {
		b[start+i] = byte(size>>(7*i))&0x7f | 0x80
	}
	b[start+room-1] &^= 0x80
	return b
}

func appendNumber(b []byte, field protowire.Number, n uint64) []byte {
	if n == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), n)
}

func appendBool(b []byte, field protowire.Number, yes bool) []byte {
	if !yes {
		return b
	}
	return appendNumber(b, field, 1)
}

func appendText(b []byte, field protowire.Number, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), text)
}

// Errors of a text that is not one of ours.
var (
	errWire = errors.New("not a protobuf message")
	errID   = errors.New("an id that is not 16 bytes")
)

// DecodeCalls reads ScriptCalls. The calls' texts point into b, which must not change any more.
func DecodeCalls(b []byte) (replyTopic string, calls []Call, err error) {
	err = fields(b, func(field protowire.Number, _ uint64, text []byte) error {
		switch {
		case field == fieldItem && text != nil:
			var c Call
			if err := c.decode(text); err != nil {
				return err
			}
			calls = append(calls, c)
		case field == fieldSource && text != nil:
			replyTopic = view(text)
		}
		return nil
	})
	if err != nil {
		return "", nil, fmt.Errorf("decode script calls: %w", err)
	}
	return replyTopic, calls, nil
}

func (c *Call) decode(b []byte) error {
	return fields(b, func(field protowire.Number, n uint64, text []byte) error {
		switch field {
		case callID:
			c.ID = n
		case callScript:
			if len(text) != len(c.Script) {
				return errID
			}
			copy(c.Script[:], text)
		case callTenant:
			if len(text) != len(c.Tenant.ID) {
				return errID
			}
			copy(c.Tenant.ID[:], text)
		case callParameters:
			c.Parameters = append(c.Parameters, view(text))
		case callBody:
			c.Body = view(text)
		case callArgs:
			if c.Args == nil {
				c.Args = make([]string, 0, 3)
			}
			c.Args = append(c.Args, view(text))
		case callBudget:
			c.Budget = time.Duration(uint32(n)) * time.Millisecond
		case callTimeout:
			c.Timeout = time.Duration(uint32(n)) * time.Millisecond
		case callCompile:
			c.Compile = n != 0
		}
		return nil
	})
}

// DecodeAnswers reads ScriptAnswers. The answers' texts point into b, which must not change any more.
func DecodeAnswers(b []byte) (executor string, answers []Answer, err error) {
	err = fields(b, func(field protowire.Number, _ uint64, text []byte) error {
		switch {
		case field == fieldItem && text != nil:
			var a Answer
			if err := a.decode(text); err != nil {
				return err
			}
			answers = append(answers, a)
		case field == fieldSource && text != nil:
			executor = view(text)
		}
		return nil
	})
	if err != nil {
		return "", nil, fmt.Errorf("decode script answers: %w", err)
	}
	return executor, answers, nil
}

func (a *Answer) decode(b []byte) error {
	return fields(b, func(field protowire.Number, n uint64, text []byte) error {
		switch field {
		case answerID:
			a.ID = n
		case answerOutcome:
			a.Outcome = Outcome(int32(uint32(n)))
		case answerText:
			a.Text = view(text)
		case answerLine:
			a.Line = int(uint32(n))
		case answerRan:
			a.Ran = time.Duration(uint32(n)) * time.Microsecond
		case answerUndefined:
			a.Undefined = n != 0
		}
		return nil
	})
}

// fields calls each for every field of a message: with its number, or its text, which is not nil. Fields of other types are passed over.
func fields(b []byte, each func(field protowire.Number, n uint64, text []byte) error) error {
	for len(b) > 0 {
		field, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return errWire
		}
		b = b[size:]
		var (
			n    uint64
			text []byte
			err  error
		)
		switch kind {
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			text, size = protowire.ConsumeBytes(b)
		default:
			size = protowire.ConsumeFieldValue(field, kind, b)
		}
		if size < 0 {
			return errWire
		}
		if kind == protowire.VarintType || kind == protowire.BytesType {
			err = each(field, n, text)
		}
		if err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}

// view is b as a string, without a copy.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
