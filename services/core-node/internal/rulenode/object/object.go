// Package object is a message's body as nodes edit it: a JSON object whose members keep their order.
package object

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// ErrNot says that a text is no JSON object.
var ErrNot = errors.New("the body is not a JSON object")

// Member is one named value.
type Member struct {
	Name  string
	Value jsontext.Value // any JSON
}

// Object is a JSON object. Of members of one name the last counts. It belongs to one goroutine.
type Object struct {
	members []Member
	places  map[string]int // of members, once there are many
}

// many is from how many members on they are found by a map.
const many = 32

// Read returns the object a body is. Errors wrap ErrNot.
func Read(b rule.Body) (*Object, error) {
	kvs, typed := b.Typed()
	if !typed {
		return Parse(b.Text())
	}
	o := &Object{members: make([]Member, 0, len(kvs)+4)}
	for _, kv := range kvs {
		o.Set(kv.Key, telemetry.AppendValue(nil, kv.Value))
	}
	return o, nil
}

// Parse returns the object of a text. Errors wrap ErrNot.
func Parse(text string) (*Object, error) {
	dec := jsontext.NewDecoder(strings.NewReader(text), jsontext.AllowDuplicateNames(true))
	o, err := parse(dec)
	if err == nil {
		if _, after := dec.ReadToken(); after != io.EOF {
			err = errors.New("more follows after it")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNot, err)
	}
	return o, nil
}

func parse(dec *jsontext.Decoder) (*Object, error) {
	open, err := dec.ReadToken()
	if err != nil {
		return nil, err
	}
	if open.Kind() != '{' {
		return nil, fmt.Errorf("it is a %s", open.Kind())
	}
	o := &Object{}
	for dec.PeekKind() != '}' {
		token, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		name := token.String()
		value, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		o.Set(name, bytes.Clone(value))
	}
	_, err = dec.ReadToken()
	return o, err
}

// Members is what the object holds, in order. It is the object's own.
func (o *Object) Members() []Member { return o.members }

// Get returns a member's value.
func (o *Object) Get(name string) (jsontext.Value, bool) {
	if i := o.find(name); i >= 0 {
		return o.members[i].Value, true
	}
	return nil, false
}

// Set puts value, which becomes the object's, at the place of the member of that name, else at the end.
func (o *Object) Set(name string, value jsontext.Value) {
	if i := o.find(name); i >= 0 {
		o.members[i].Value = value
		return
	}
	o.members = append(o.members, Member{name, value})
	switch n := len(o.members); {
	case o.places != nil:
		o.places[name] = n - 1
	case n > many:
		o.index()
	}
}

func (o *Object) index() {
	o.places = make(map[string]int, 2*len(o.members))
	for i, m := range o.members {
		o.places[m.Name] = i
	}
}

// SetText is Set of a JSON string.
func (o *Object) SetText(name, text string) { o.Set(name, Quote(text)) }

// Delete removes the members gone says, and reports whether there were any.
func (o *Object) Delete(gone func(name string) bool) bool {
	before := len(o.members)
	o.members = slices.DeleteFunc(o.members, func(m Member) bool { return gone(m.Name) })
	if o.places != nil {
		o.index()
	}
	return len(o.members) < before
}

func (o *Object) find(name string) int {
	if o.places != nil {
		if i, ok := o.places[name]; ok {
			return i
		}
		return -1
	}
	return slices.IndexFunc(o.members, func(m Member) bool { return m.Name == name })
}

// Text is the object as compact JSON.
func (o *Object) Text() string {
	text := []byte{'{'}
	for i, m := range o.members {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(append(text, Quote(m.Name)...), ':')
		text = append(text, m.Value...)
	}
	return string(append(text, '}'))
}

// Body is the object as a message's body.
func (o *Object) Body() rule.Body { return rule.TextBody(o.Text()) }

// Quote returns text as a JSON string; what is not UTF-8 becomes U+FFFD.
func Quote(text string) jsontext.Value {
	quoted, _ := jsontext.AppendQuote(nil, text)
	return quoted
}

// Plain is a JSON value as it is put into metadata: strings without quotes, all else as JSON.
func Plain(v jsontext.Value) string {
	if v.Kind() == '"' {
		if text, err := jsontext.AppendUnquote(nil, v); err == nil {
			return string(text)
		}
	}
	return string(v)
}
