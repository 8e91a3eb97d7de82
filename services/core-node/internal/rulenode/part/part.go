// Package part is the two parts of a message that nodes read and write alike: its body and its metadata.
package part

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/object"
)

// Part is one of the two, under the name configurations use.
type Part string

// The parts.
const (
	Data     Part = "DATA"
	Metadata Part = "METADATA"
)

// Check returns an error naming the field of the configuration if p is no part.
func (p Part) Check(field string) error {
	if p != Data && p != Metadata {
		return fmt.Errorf("%s: %q is none of DATA, METADATA", field, p)
	}
	return nil
}

// Edit is a copy of a message, one part of which is being written.
type Edit struct {
	message  rule.Message
	body     *object.Object // of Data
	metadata map[string]string
}

// Edit begins to write p of a copy of in. The body, if it is that, has to be an object (object.ErrNot).
func (p Part) Edit(in *rule.Message) (*Edit, error) {
	e := &Edit{message: *in}
	if p == Metadata {
		e.metadata = map[string]string{}
		return e, nil
	}
	var err error
	e.body, err = object.Read(in.Body)
	return e, err
}

// Set puts a JSON value there; in metadata strings lose their quotes.
func (e *Edit) Set(key string, value jsontext.Value) {
	if e.body != nil {
		e.body.Set(key, value)
		return
	}
	e.metadata[key] = object.Plain(value)
}

// SetText puts a text there.
func (e *Edit) SetText(key, text string) {
	if e.body != nil {
		e.body.SetText(key, text)
		return
	}
	e.metadata[key] = text
}

// Message is what was written. It ends the edit.
func (e *Edit) Message() *rule.Message {
	if e.body != nil {
		e.message.Body = e.body.Body()
	} else {
		e.message.Metadata = e.message.Metadata.WithAll(e.metadata)
	}
	return &e.message
}

// FromFlag is the part an older configuration meant by a flag, a boolean or its text.
func FromFlag(flag any) Part {
	if flag == true || flag == "true" {
		return Metadata
	}
	return Data
}
