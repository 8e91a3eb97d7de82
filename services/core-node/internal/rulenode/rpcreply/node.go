// Package rpcreply answers devices' own requests.
package rpcreply

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

//go:embed doc.md
var doc string

const schema = `{"type":"object","properties":{
"serviceIdMetaDataAttribute":{"type":["string","null"],"description":"Key of the metadata that names the transport's process."},
"sessionIdMetaDataAttribute":{"type":["string","null"],"description":"Key of the metadata that names the device's session."},
"requestIdMetaDataAttribute":{"type":["string","null"],"description":"Key of the metadata that holds the number of the device's request."}}}`

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.rpc.TbSendRPCReplyNode",
		Name:      "rpc call reply",
		Category:  rule.Action,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Default: json.RawMessage(`{"serviceIdMetaDataAttribute":"serviceId","sessionIdMetaDataAttribute":"sessionId",` +
			`"requestIdMetaDataAttribute":"requestId"}`),
		Schema: json.RawMessage(schema),
		New:    newNode,
	}
}

type node struct {
	Service string `json:"serviceIdMetaDataAttribute"`
	Session string `json:"sessionIdMetaDataAttribute"`
	Request string `json:"requestIdMetaDataAttribute"`
}

func newNode(raw json.RawMessage, _ rule.Services) (rule.Node, error) {
	var n node
	if err := json.Unmarshal(raw, &n); err != nil {
		return nil, err
	}
	n.Service, n.Session, n.Request = cmp.Or(n.Service, "serviceId"), cmp.Or(n.Session, "sessionId"), cmp.Or(n.Request, "requestId")
	return n, nil
}

// name is what a process may be called: it is part of a topic's name.
var name = regexp.MustCompile(`^[A-Za-z0-9._-]{1,200}$`)

// Process implements rule.Node.
func (n node) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	if in.Originator.Type != ident.Device {
		return errors.New("message originator is not a device")
	}
	body := in.Body.Text()
	if body == "" {
		return errors.New("response body is empty")
	}
	service, err := get(in, n.Service)
	if err != nil {
		return err
	}
	if !name.MatchString(service) {
		return fmt.Errorf("metadata %s: %q is no name of a transport's process", n.Service, service)
	}
	session, err := get(in, n.Session)
	if err != nil {
		return err
	}
	request, err := get(in, n.Request)
	if err != nil {
		return err
	}
	a := rule.Answer{Node: service, Payload: body}
	if a.Session, err = ident.Parse(session); err != nil {
		return fmt.Errorf("metadata %s: %w", n.Session, err)
	}
	number, err := strconv.ParseInt(request, 10, 32)
	if err != nil {
		return fmt.Errorf("metadata %s: %q is no number of a request", n.Request, request)
	}
	a.Request = int32(number)
	turn.Answer(a, in)
	return nil
}

func get(in *rule.Message, key string) (string, error) {
	value, ok := in.Metadata.Get(key)
	if !ok || value == "" {
		return "", fmt.Errorf("%s is not present in the metadata", key)
	}
	return value, nil
}
