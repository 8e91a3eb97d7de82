package httpapitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Client calls the API as one user.
type Client struct {
	t     testing.TB
	url   string
	Token string
	// Refresh is the refresh token of the login.
	Refresh string
}

// Answer is what came back.
type Answer struct {
	t      testing.TB
	Status int
	Header http.Header
	Body   []byte
}

// Anonymous returns a client that is not logged in.
func (p *Platform) Anonymous(t testing.TB) *Client { return &Client{t: t, url: p.URL} }

// Login returns a client logged in by password.
func (p *Platform) Login(t testing.TB, email, pass string) *Client {
	t.Helper()
	c := p.Anonymous(t)
	var pair struct{ Token, RefreshToken string }
	c.Do("POST", "/api/auth/login", fmt.Sprintf(`{"username":%q,"password":%q}`, email, pass)).Expect(200).JSON(&pair)
	c.Token, c.Refresh = pair.Token, pair.RefreshToken
	return c
}

// Admin is the demo tenant's administrator, System the system's, Customer a user of "Customer A".
func (p *Platform) Admin(t testing.TB) *Client { return p.Login(t, "tenant@thingsboard.org", "tenant") }

// System is the system's administrator.
func (p *Platform) System(t testing.TB) *Client {
	return p.Login(t, "sysadmin@thingsboard.org", "sysadmin")
}

// Customer is a user of "Customer A".
func (p *Platform) Customer(t testing.TB) *Client {
	return p.Login(t, "customer@thingsboard.org", "customer")
}

// Do sends a request; body may be text, nil, or a value that is sent as JSON. Headers are given as name and value in turn.
func (c *Client) Do(method, path string, body any, headers ...string) Answer {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, reader(c.t, body))
	if err != nil {
		c.t.Fatalf("make request: %v", err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.Token != "" {
		request.Header.Set("X-Authorization", "Bearer "+c.Token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatalf("%s %s: read answer: %v", method, path, err)
	}
	return Answer{c.t, response.StatusCode, response.Header, answer}
}

func reader(t testing.TB, body any) io.Reader {
	t.Helper()
	switch b := body.(type) {
	case nil:
		return http.NoBody
	case string:
		return strings.NewReader(b)
	case []byte:
		return bytes.NewReader(b)
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		t.Fatalf("encode request: %v", err)
	}
	return bytes.NewReader(encoded)
}

// Get is Do of a GET that is to succeed, decoded into v.
func (c *Client) Get(path string, v any) {
	c.t.Helper()
	c.Do("GET", path, nil).Expect(200).JSON(v)
}

// Expect fails the test unless the status is as given.
func (a Answer) Expect(status int) Answer {
	a.t.Helper()
	if a.Status != status {
		a.t.Fatalf("status %d, want %d: %s", a.Status, status, a.Body)
	}
	return a
}

// ExpectError is Expect for the error object of rest-api §1.6; it returns the message.
func (a Answer) ExpectError(status, code int) string {
	a.t.Helper()
	a.Expect(status)
	var body struct {
		Status, ErrorCode int
		Message           string
		Timestamp         int64
	}
	a.JSON(&body)
	if body.Status != status || body.ErrorCode != code || body.Message == "" || body.Timestamp == 0 {
		a.t.Fatalf("error %s, want status %d, code %d, a message and a time", a.Body, status, code)
	}
	return body.Message
}

// ExpectText is Expect for an error in bare text; it returns the text.
func (a Answer) ExpectText(status int) string {
	a.t.Helper()
	a.Expect(status)
	if kind := a.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain") || len(a.Body) == 0 {
		a.t.Fatalf("answer %q of type %q, want text", a.Body, kind)
	}
	return string(a.Body)
}

// JSON decodes the answer into v.
func (a Answer) JSON(v any) {
	a.t.Helper()
	if err := json.Unmarshal(a.Body, v); err != nil {
		a.t.Fatalf("decode %q: %v", a.Body, err)
	}
}
