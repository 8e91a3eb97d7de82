// Package restcall calls HTTP servers outside of the platform.
package restcall

import (
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sluice-iot/sluice/services/core-node/internal/outside"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/pattern"
)

//go:embed doc.md
var doc string

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.rest.TbRestApiCallNode",
		Name:      "rest api call",
		Category:  rule.External,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   4,
		Default:   json.RawMessage(standard),
		Schema:    json.RawMessage(schema),
		Waits:     rule.ForOutside,
		Upgrade:   upgrade,
		New:       newNode,
	}
}

type node struct {
	config
	services rule.Services
	key      outside.HTTPKey
	url      pattern.Pattern
	query    [][2]pattern.Pattern
	headers  [][2]pattern.Pattern
	template pattern.Pattern
	timeout  time.Duration
	most     int
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	c, err := read(raw)
	if err != nil {
		return nil, err
	}
	if s.Outside == nil {
		return nil, fmt.Errorf("%w: nothing outside is reached from here", rule.ErrNotStartable)
	}
	limits := s.Outside.Settings()
	n := &node{
		config: c, services: s, url: pattern.Compile(c.URL), template: pattern.Compile(c.BodyTemplate),
		timeout: limits.Timeout, most: limits.Response,
	}
	if c.ReadTimeoutMS > 0 {
		n.timeout = min(n.timeout, time.Duration(c.ReadTimeoutMS)*time.Millisecond)
	}
	if c.BufferKB > 0 {
		n.most = min(n.most, c.BufferKB<<10)
	}
	for name, value := range c.Headers {
		n.headers = append(n.headers, [2]pattern.Pattern{pattern.Compile(name), pattern.Compile(value)})
	}
	for _, q := range c.Query {
		n.query = append(n.query, [2]pattern.Pattern{pattern.Compile(q.Key), pattern.Compile(q.Value)})
	}
	n.key = outside.HTTPKey{Tenant: s.Tenant, Certificates: c.Credentials.certificates()}
	if _, err := n.key.Certificates.TLS(); err != nil {
		return nil, fmt.Errorf("credentials.%w", err)
	}
	if c.Parallel > 0 {
		n.key.Node, n.key.Parallel = s.Node, c.Parallel
	}
	return n, nil
}

// Process makes one request. Whatever goes wrong outside is the message's own fault.
func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	client, giveBack, err := outside.Lend(ctx, n.services.Outside, n.key, func(context.Context) (*outside.HTTPClient, error) {
		return n.services.Outside.NewHTTPClient(n.key)
	})
	if err != nil {
		return n.failed(in, turn, err)
	}
	defer giveBack(false)
	if client.Slots != nil {
		select {
		case client.Slots <- struct{}{}:
			defer func() { <-client.Slots }()
		case <-ctx.Done():
			return n.failed(in, turn, fmt.Errorf("more than %d requests are under way", n.Parallel))
		}
	}
	request, err := n.request(ctx, in)
	if err != nil {
		return n.failed(in, turn, err)
	}
	response, err := client.Do(request)
	if err != nil {
		return n.failed(in, turn, n.explain(ctx, err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, int64(n.most)+1))
	if err == nil && len(body) > n.most {
		err = fmt.Errorf("the response has more than %d bytes", n.most)
	}
	if err != nil {
		return n.failed(in, turn, n.explain(ctx, err))
	}
	n.answered(in, turn, response, string(body))
	return nil
}

// explain says why a request failed in words that do not name what is inside.
func (n *node) explain(ctx context.Context, err error) error {
	var wrapped *url.Error
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("no response within %v", n.timeout)
	case errors.As(err, &wrapped):
		return wrapped.Err
	}
	return err
}

func (n *node) failed(in *rule.Message, turn *rule.Turn, err error) error {
	changed := *in
	changed.Metadata = in.Metadata.With("error", err.Error())
	turn.Fail(&changed, err)
	return nil
}

func (n *node) request(ctx context.Context, in *rule.Message) (*http.Request, error) {
	target, err := n.target(in)
	if err != nil {
		return nil, err
	}
	var body io.Reader
	if n.sendsBody() {
		body = strings.NewReader(n.body(in))
	}
	request, err := http.NewRequestWithContext(ctx, n.Method, target.String(), body)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	// The same for every attempt, so that the server can tell a repetition.
	request.Header.Set("X-Message-Id", fmt.Sprintf("%x-%d", in.ID[:], in.Index))
	for _, h := range n.headers {
		request.Header.Set(h[0].Of(in), h[1].Of(in))
	}
	if c := n.Credentials; c.Type == basic {
		request.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password)))
	}
	return request, nil
}

// target is where the request goes. What the pattern brought in that may not stand in a URL is encoded.
func (n *node) target(in *rule.Message) (*url.URL, error) {
	target, err := url.Parse(strings.TrimSpace(n.url.Of(in)))
	switch {
	case err != nil:
		return nil, fmt.Errorf("restEndpointUrlPattern: %w", errors.Unwrap(err))
	case target.Scheme != "http" && target.Scheme != "https", target.Host == "":
		return nil, errors.New("restEndpointUrlPattern: a URL with http or https is needed")
	}
	target.RawQuery = escapeQuery(target.RawQuery)
	if len(n.query) > 0 {
		values := target.Query()
		for _, q := range n.query {
			values.Add(q[0].Of(in), q[1].Of(in))
		}
		target.RawQuery = values.Encode()
	}
	return target, nil
}

// escapeQuery encodes what may not stand in a query, and leaves what is encoded already.
func escapeQuery(query string) string {
	var out strings.Builder
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			fmt.Fprintf(&out, "%%%02X", c)
		} else {
			out.WriteByte(c)
		}
	}
	return out.String()
}

func (n *node) sendsBody() bool {
	switch n.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return !n.IgnoreBody
	}
	return false
}

func (n *node) body(in *rule.Message) string {
	text := in.Body.Text()
	if n.BodyTemplate != "" {
		text = n.template.Of(in)
	}
	var plain string
	if n.PlainText && json.Unmarshal([]byte(text), &plain) == nil {
		return plain
	}
	return text
}

// answered sends the message on with what the server said.
func (n *node) answered(in *rule.Message, turn *rule.Turn, response *http.Response, body string) {
	reason := http.StatusText(response.StatusCode)
	texts := make(map[string]string, len(response.Header)+4)
	for name, values := range response.Header {
		texts[name] = values[0]
		if len(values) > 1 {
			if all, err := json.Marshal(values); err == nil {
				texts[name] = string(all)
			}
		}
	}
	texts["status"] = statusName(response.StatusCode, reason)
	texts["statusCode"] = fmt.Sprint(response.StatusCode)
	texts["statusReason"] = reason
	changed := *in
	if response.StatusCode/100 == 2 {
		changed.Metadata = in.Metadata.WithAll(texts)
		if body == "" {
			body = "{}"
		}
		changed.Body = rule.TextBody(body)
		turn.Emit(rule.Success, &changed)
		return
	}
	err := fmt.Errorf("the server answered %d %s", response.StatusCode, reason)
	texts["error"], texts["error_body"] = err.Error(), body
	changed.Metadata = in.Metadata.WithAll(texts)
	turn.Fail(&changed, err)
}

// statusName is a status as existing chains compare it: NOT_FOUND.
func statusName(code int, reason string) string {
	if reason == "" {
		return fmt.Sprint(code)
	}
	return strings.NewReplacer(" ", "_", "-", "_", "'", "").Replace(strings.ToUpper(reason))
}
