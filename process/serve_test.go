package process

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/process/admin"
	"github.com/sluice-iot/sluice/process/logs"
)

func testConfig() Config {
	return Config{
		Admin:      admin.Config{Listen: "127.0.0.1:0"},
		Logs:       logs.Config{Level: "info", Format: "json"},
		DrainLimit: time.Minute,
	}
}

// readiness is what /ready says.
type readiness struct {
	status  int
	Ready   bool
	Reasons map[string]string
}

func askReady(t *testing.T, address string) readiness {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + address + "/ready")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer := readiness{status: response.StatusCode}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// TestServe follows one process from start to stop through its admin listener.
func TestServe(t *testing.T) {
	defer goleak.VerifyNone(t)
	config := testConfig()
	config.DrainNotice = 200 * time.Millisecond
	ctx, stop := context.WithCancel(t.Context())
	addresses, draining, finish := make(chan string, 1), make(chan struct{}), make(chan struct{})
	build := func(_ context.Context, env Env) (Runner, error) {
		address := env.AdminAddr
		if got := askReady(t, address); got.status != 503 || got.Reasons["process"] != "process: starting" {
			t.Errorf("while it is built /ready says %+v", got)
		}
		addresses <- address
		return RunnerFunc(func(ctx context.Context) error {
			<-ctx.Done()
			close(draining)
			<-finish
			return nil
		}), nil
	}
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, config, io.Discard, build) }()
	address := <-addresses
	for !askReady(t, address).Ready {
		time.Sleep(time.Millisecond)
	}
	stop()
	for askReady(t, address).Ready {
		time.Sleep(time.Millisecond)
	}
	select {
	case <-draining:
		t.Error("it drained before its notice had passed")
	default:
	}
	<-draining
	if got := askReady(t, address); got.status != 503 || got.Reasons["process"] != "process: stopping" {
		t.Errorf("while it drains /ready says %+v", got)
	}
	close(finish)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestServeReturnsWhatBuildFailedOf(t *testing.T) {
	defer goleak.VerifyNone(t)
	errNoStore := errors.New("no store")
	err := Serve(t.Context(), testConfig(), io.Discard, func(context.Context, Env) (Runner, error) { return nil, errNoStore })
	if !errors.Is(err, errNoStore) {
		t.Errorf("got %v", err)
	}
}

func TestServeRefusesATakenAddress(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	config := testConfig()
	config.Admin.Listen = taken.Addr().String()
	if err := Serve(t.Context(), config, io.Discard, nil); err == nil {
		t.Error("it started on an address that is taken")
	}
}

func TestDrainLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		stuck := RunnerFunc(func(context.Context) error { <-release; return nil })
		ctx, stop := context.WithCancel(t.Context())
		stop()
		begun := time.Now()
		err := stopWithin(ctx, Config{DrainLimit: 30 * time.Second}, func() {}, stuck)
		if !errors.Is(err, ErrDrainLimit) || time.Since(begun) != 30*time.Second {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
		close(release)
	})
}

func TestHealth(t *testing.T) {
	var none *Health
	none.Check("nobody looks", func() error { return nil })
	none.CheckShared("nobody looks", func() error { return nil })

	var h Health
	if reasons := h.Ready(); reasons != nil {
		t.Errorf("without checks: %v", reasons)
	}
	errFull := errors.New("disk is full")
	h.Check("store", func() error { return errFull })
	h.Check("bus", func() error { return nil })
	h.CheckShared("brokers", func() error { return errFull })
	if reasons := h.Ready(); len(reasons) != 1 || !errors.Is(reasons["store"], errFull) {
		t.Errorf("got %v", reasons)
	}
	if troubles := h.Degraded(); len(troubles) != 1 || !errors.Is(troubles["brokers"], errFull) {
		t.Errorf("got %v", troubles)
	}
}
