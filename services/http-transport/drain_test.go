package httptransport

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/transport/transporttest"
)

// TestDrain: what is in hand when the service stops is answered, and its connection, which would have
// been used again, is said to end.
func TestDrain(t *testing.T) {
	r := transporttest.Start(t, nil)
	r.Core.AddDevice("T")
	base, stop := serve(t, defaults(t), r.Transport)
	client := &http.Client{}
	defer client.CloseIdleConnections()
	r.Bus.Hold()
	answered := make(chan *http.Response, 1)
	go func() {
		response, err := client.Post(base+"T/telemetry", "application/json", strings.NewReader(`{"t":1}`))
		if err != nil {
			t.Error(err)
		}
		answered <- response
	}()
	r.AwaitHeld(t, 1)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	address := strings.TrimSuffix(strings.TrimPrefix(base, "http://"), "/api/v1/")
	for { // until nothing is accepted any more
		conn, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		conn.Close()
		time.Sleep(time.Millisecond)
	}
	r.Bus.Release(nil)
	response := <-answered
	if response == nil {
		t.FailNow()
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK || !response.Close {
		t.Errorf("status %d, connection ends: %v", response.StatusCode, response.Close)
	}
	<-stopped
}
