// Package toemail makes e-mails of messages.
package toemail

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/pattern"
)

//go:embed doc.md
var doc string

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.mail.TbMsgToEmailNode",
		Name:      "to email",
		Category:  rule.Transformation,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Default: json.RawMessage(`{"fromTemplate":"info@testmail.org","toTemplate":"${userEmail}","ccTemplate":null,"bccTemplate":null,` +
			`"subjectTemplate":"Device ${deviceType} temperature high","bodyTemplate":"Device ${deviceName} has high temperature $[temperature]",` +
			`"mailBodyType":"false","isHtmlTemplate":null}`),
		Schema: json.RawMessage(`{"type":"object","required":["fromTemplate","toTemplate"],"properties":{"fromTemplate":{"type":"string"},` +
			`"toTemplate":{"type":"string"},"ccTemplate":{"type":["string","null"]},"bccTemplate":{"type":["string","null"]},` +
			`"subjectTemplate":{"type":["string","null"]},"bodyTemplate":{"type":["string","null"]},` +
			`"mailBodyType":{"enum":["false","true","dynamic",null]},"isHtmlTemplate":{"type":["string","null"]}}}`),
		New: newNode,
	}
}

// dynamic: isHtmlTemplate says of each message whether its mail is HTML.
const dynamic = "dynamic"

type node struct {
	from, to, cc, bcc, subject, body, html pattern.Pattern
}

func newNode(raw json.RawMessage, _ rule.Services) (rule.Node, error) {
	var c struct {
		FromTemplate, ToTemplate, CcTemplate, BccTemplate, SubjectTemplate, BodyTemplate, MailBodyType, IsHTMLTemplate string
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	switch {
	case c.FromTemplate == "":
		return nil, fmt.Errorf("fromTemplate: a sender is needed")
	case c.ToTemplate == "":
		return nil, fmt.Errorf("toTemplate: a receiver is needed")
	}
	html := c.IsHTMLTemplate
	switch c.MailBodyType {
	case dynamic:
	case "", "false", "true":
		html = c.MailBodyType
	default:
		return nil, fmt.Errorf("mailBodyType: %q is none of false, true and dynamic", c.MailBodyType)
	}
	return &node{
		pattern.Compile(c.FromTemplate), pattern.Compile(c.ToTemplate), pattern.Compile(c.CcTemplate), pattern.Compile(c.BccTemplate),
		pattern.Compile(c.SubjectTemplate), pattern.Compile(c.BodyTemplate), pattern.Compile(html),
	}, nil
}

// mail is the body of a message of type SEND_EMAIL.
type mail struct {
	From    string            `json:"from"`
	To      string            `json:"to"`
	Cc      string            `json:"cc,omitempty"`
	Bcc     string            `json:"bcc,omitempty"`
	Subject string            `json:"subject"`
	Body    string            `json:"body"`
	Images  map[string]string `json:"images,omitempty"`
	HTML    bool              `json:"html"`
}

func (n *node) Process(_ context.Context, in *rule.Message, turn *rule.Turn) error {
	made := mail{
		From: n.from.Of(in), To: n.to.Of(in), Cc: n.cc.Of(in), Bcc: n.bcc.Of(in), Subject: n.subject.Of(in), Body: n.body.Of(in),
		HTML: strings.EqualFold(strings.TrimSpace(n.html.Of(in)), "true"),
	}
	if text, ok := in.Metadata.Get("images"); ok && text != "" {
		if err := json.Unmarshal([]byte(text), &made.Images); err != nil {
			return fmt.Errorf("metadata.images: %w", err)
		}
	}
	body, err := json.Marshal(made)
	if err != nil {
		return fmt.Errorf("write the mail: %w", err)
	}
	changed := *in
	changed.Type, changed.Body = rule.SendEmail, rule.TextBody(string(body))
	turn.Emit(rule.Success, &changed)
	return nil
}
