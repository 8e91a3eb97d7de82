package httptransport

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/process"
	"github.com/sluice-iot/sluice/process/settings"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestProtocolSuite(t *testing.T) {
	transporttest.Run(t, transporttest.Harness{
		Transport:  "HTTP",
		Oversize:   defaults(t).MaxBodyBytes + 1,
		Attributes: true,
		Start: func(t *testing.T, tr *transport.Transport) (transporttest.Client, func()) {
			base, stop := serve(t, defaults(t), tr)
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			return &suiteClient{base: base, http: client}, stop
		},
	})
}

// defaults are the default settings on a free port.
func defaults(t testing.TB) Config {
	t.Helper()
	var c Config
	if err := settings.Defaults(&c, nil); err != nil {
		t.Fatal(err)
	}
	c.Listen = "127.0.0.1:0"
	return c
}

// serve runs the service; stop returns once it has drained.
func serve(t testing.TB, c Config, platform Platform) (base string, stop func()) {
	t.Helper()
	s, stop := run(t, c, platform)
	return "http://" + s.Addr() + "/api/v1/", stop
}

func run(t testing.TB, c Config, platform Platform) (s *Service, stop func()) {
	t.Helper()
	s, err := New(c, platform, process.Env{Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return s, func() {
		cancel()
		running.Wait()
	}
}

// suiteClient is the protocol suite's view of the service.
type suiteClient struct {
	base string
	http *http.Client
}

func (c *suiteClient) Upload(ctx context.Context, u transporttest.Upload) transporttest.Outcome {
	resource := "/telemetry"
	if u.Attributes {
		resource = "/attributes"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+u.Token+resource, strings.NewReader(u.Payload))
	if err != nil {
		return transporttest.Unanswered
	}
	_, outcome := c.do(request)
	return outcome
}

func (c *suiteClient) ReadAttributes(ctx context.Context, token string, clientKeys, sharedKeys []string) (string, transporttest.Outcome) {
	query := url.Values{"clientKeys": clientKeys, "sharedKeys": sharedKeys}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+token+"/attributes?"+query.Encode(), nil)
	if err != nil {
		return "", transporttest.Unanswered
	}
	return c.do(request)
}

func (c *suiteClient) do(request *http.Request) (string, transporttest.Outcome) {
	response, err := c.http.Do(request)
	if err != nil {
		return "", transporttest.Unanswered
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", transporttest.Unanswered
	}
	outcomes := map[int]transporttest.Outcome{
		http.StatusOK:                    transporttest.Acknowledged,
		http.StatusBadRequest:            transporttest.Malformed,
		http.StatusUnauthorized:          transporttest.Unknown,
		http.StatusRequestEntityTooLarge: transporttest.TooLarge,
		http.StatusTooManyRequests:       transporttest.Limited,
		http.StatusServiceUnavailable:    transporttest.Unavailable,
	}
	return string(body), outcomes[response.StatusCode]
}
