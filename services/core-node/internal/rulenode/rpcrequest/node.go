// Package rpcrequest sends requests to devices.
package rpcrequest

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/raised"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","properties":{
"timeoutInSeconds":{"type":"integer","minimum":0,"maximum":31536000,"description":"How long a request is waited for whose message does not say when it expires."}}}`

// longest is the longest timeoutInSeconds may be, s.
const longest = 365 * 24 * 60 * 60

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.rpc.TbSendRPCRequestNode",
		Name:      "rpc call request",
		Category:  rule.Action,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Default:   json.RawMessage(`{"timeoutInSeconds":60}`),
		Schema:    json.RawMessage(schema),
		New:       newNode,
	}
}

type node struct {
	timeout  time.Duration
	services rule.Services
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c struct {
		Timeout int64 `json:"timeoutInSeconds"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	if c.Timeout < 0 || c.Timeout > longest {
		return nil, fmt.Errorf("timeoutInSeconds: %d is not between 0 and %d", c.Timeout, longest)
	}
	return node{time.Duration(c.Timeout) * time.Second, s}, nil
}

// Process implements rule.Node.
func (n node) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	if in.Originator.Type != ident.Device {
		return errors.New("message originator is not a device")
	}
	r, err := n.request(in)
	if err != nil {
		return err
	}
	turn.Ask(r, in)
	return nil
}

func (n node) request(in *rule.Message) (r rule.Request, err error) {
	var body struct {
		Method         *string         `json:"method"`
		Params         json.RawMessage `json:"params"`
		AdditionalInfo json.RawMessage `json:"additionalInfo"`
	}
	if err := json.Unmarshal([]byte(in.Body.Text()), &body); err != nil {
		return r, fmt.Errorf("the message is no JSON object of method and params: %w", err)
	}
	if body.Method == nil {
		return r, errors.New("method is not present in the message")
	}
	if body.Params == nil {
		return r, errors.New("params are not present in the message")
	}
	r = rule.Request{Method: *body.Method, Params: params(body.Params), Retries: -1}
	if r.AdditionalInfo = text(body.AdditionalInfo); r.AdditionalInfo == "" {
		given, _ := in.Metadata.Get("additionalInfo")
		r.AdditionalInfo = text(json.RawMessage(given))
	}
	return r, n.fromMetadata(&r, in)
}

// params is JSON text: what the message carries, or, where that is itself a text of JSON, what it says.
func params(given json.RawMessage) string {
	var said string
	if json.Unmarshal(given, &said) == nil && given[0] == '"' && json.Valid([]byte(said)) {
		return said
	}
	return compact(given)
}

// text is JSON without blanks; "" for null and what is no JSON.
func text(given json.RawMessage) string {
	if len(given) == 0 || !json.Valid(given) || string(given) == "null" {
		return ""
	}
	return compact(given)
}

func compact(given json.RawMessage) string {
	var out bytes.Buffer
	if json.Compact(&out, given) != nil {
		return string(given)
	}
	return out.String()
}

func (n node) fromMetadata(r *rule.Request, in *rule.Message) (err error) {
	get := func(key string) string {
		value, _ := in.Metadata.Get(key)
		return value
	}
	r.OneWay, r.Persistent = get("oneway") == "true", get("persistent") == "true"
	if r.ID = raised.ID(n.services, in, "rpc"); get("requestUUID") != "" {
		if r.ID, err = ident.Parse(get("requestUUID")); err != nil {
			return fmt.Errorf("requestUUID: %w", err)
		}
	}
	r.Expires = n.services.Now().Add(n.timeout).UnixMilli()
	if given := get("expirationTime"); given != "" {
		if r.Expires, err = strconv.ParseInt(given, 10, 64); err != nil {
			return fmt.Errorf("expirationTime: %q is no time in milliseconds", given)
		}
	}
	if given := get("retries"); given != "" {
		if r.Retries, err = strconv.Atoi(given); err != nil || r.Retries < 0 {
			return fmt.Errorf("retries: %q is no number of retries", given)
		}
	}
	return nil
}
