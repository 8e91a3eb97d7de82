package restcall

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/sluice-iot/sluice/services/core-node/internal/outside"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

type config struct {
	URL           string            `json:"restEndpointUrlPattern"`
	Method        string            `json:"requestMethod"`
	Headers       map[string]string `json:"headers"`
	Query         []parameter       `json:"queryParams"`
	ReadTimeoutMS int               `json:"readTimeoutMs"`
	Parallel      int               `json:"maxParallelRequestsCount"`
	PlainText     bool              `json:"parseToPlainText"`
	IgnoreBody    bool              `json:"ignoreRequestBody"`
	BodyTemplate  string            `json:"requestBodyTemplate"`
	Credentials   credentials       `json:"credentials"`
	BufferKB      int               `json:"maxInMemoryBufferSizeInKb"`
	EnableProxy   bool              `json:"enableProxy"`
}

type parameter struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Types of credentials.
const (
	anonymous = "anonymous"
	basic     = "basic"
	pem       = "cert.PEM"
)

type credentials struct {
	Type       string `json:"type"`
	Username   string `json:"username"`
	Password   string `json:"password"`
	CACert     string `json:"caCert"`
	Cert       string `json:"cert"`
	PrivateKey string `json:"privateKey"`
}

func (c credentials) certificates() outside.Certificates {
	if c.Type != pem {
		return outside.Certificates{}
	}
	return outside.Certificates{Authorities: c.CACert, Certificate: c.Cert, Key: c.PrivateKey}
}

const standard = `{"restEndpointUrlPattern":"http://localhost/api","requestMethod":"POST","headers":{"Content-Type":"application/json"},"queryParams":[],` +
	`"readTimeoutMs":0,"maxParallelRequestsCount":0,"parseToPlainText":false,"ignoreRequestBody":false,"requestBodyTemplate":null,` +
	`"credentials":{"type":"anonymous"},"enableProxy":false,"useSystemProxyProperties":false,"proxyScheme":null,"proxyHost":null,"proxyPort":0,` +
	`"proxyUser":null,"proxyPassword":null,"maxInMemoryBufferSizeInKb":256}`

const schema = `{"type":"object","required":["restEndpointUrlPattern","requestMethod"],"properties":{` +
	`"restEndpointUrlPattern":{"type":"string"},"requestMethod":{"enum":["GET","POST","PUT","DELETE","PATCH","HEAD","OPTIONS","TRACE"]},` +
	`"headers":{"type":"object","additionalProperties":{"type":"string"}},` +
	`"queryParams":{"type":["array","null"],"items":{"type":"object","properties":{"key":{"type":"string"},"value":{"type":"string"}}}},` +
	`"readTimeoutMs":{"type":"integer","minimum":0},"maxParallelRequestsCount":{"type":"integer","minimum":0},"parseToPlainText":{"type":"boolean"},` +
	`"ignoreRequestBody":{"type":"boolean"},"requestBodyTemplate":{"type":["string","null"]},` +
	`"credentials":{"type":"object","properties":{"type":{"enum":["anonymous","basic","cert.PEM"]}}},"maxInMemoryBufferSizeInKb":{"type":"integer","minimum":0},` +
	`"enableProxy":{"type":"boolean"},"useSystemProxyProperties":{"type":"boolean"},"proxyScheme":{"type":["string","null"]},"proxyHost":{"type":["string","null"]},` +
	`"proxyPort":{"type":"integer"},"proxyUser":{"type":["string","null"]},"proxyPassword":{"type":["string","null"]}}}`

func methods() []string {
	return []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodHead, http.MethodOptions, http.MethodTrace}
}

func read(raw json.RawMessage) (config, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return config{}, err
	}
	switch {
	case c.URL == "":
		return config{}, fmt.Errorf("restEndpointUrlPattern: a URL is needed")
	case !slices.Contains(methods(), c.Method):
		return config{}, fmt.Errorf("requestMethod: %q is no method of HTTP", c.Method)
	case c.ReadTimeoutMS < 0:
		return config{}, fmt.Errorf("readTimeoutMs: must not be negative")
	case c.Parallel < 0:
		return config{}, fmt.Errorf("maxParallelRequestsCount: must not be negative")
	case c.BufferKB < 0:
		return config{}, fmt.Errorf("maxInMemoryBufferSizeInKb: must not be negative")
	case c.EnableProxy:
		return config{}, fmt.Errorf("enableProxy: %w: proxies are not built", rule.ErrNotStartable)
	}
	switch c.Credentials.Type {
	case "", anonymous, basic, pem:
		return c, nil
	}
	return config{}, fmt.Errorf("credentials.type: %q is unknown", c.Credentials.Type)
}

// kept are the fields of the present version.
func kept() []string {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(standard), &fields); err != nil {
		return nil // the text is ours, and tested
	}
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	return names
}

// upgrade follows rule-engine reference §2.4. queryParams stays absent: the URL is then encoded as it always was.
func upgrade(from int, fields map[string]any, _ *rule.NodeEntry) {
	if from < 1 {
		if trim, ok := fields["trimDoubleQuotes"]; ok {
			fields["parseToPlainText"] = trim
			delete(fields, "trimDoubleQuotes")
		}
	}
	if from < 2 {
		for _, gone := range []string{"useRedisQueueForMsgPersistence", "trimQueue", "maxQueueSize"} {
			delete(fields, gone)
		}
	}
	if from < 3 {
		if _, ok := fields["maxInMemoryBufferSizeInKb"]; !ok {
			fields["maxInMemoryBufferSizeInKb"] = 256
		}
	}
	if _, ok := fields["requestBodyTemplate"]; !ok {
		fields["requestBodyTemplate"] = nil
	}
	names := kept()
	for name := range fields {
		if !slices.Contains(names, name) {
			delete(fields, name)
		}
	}
}
