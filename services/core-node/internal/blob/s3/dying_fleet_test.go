//go:build fleet

package s3_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/sluice-iot/sluice/services/core-node/internal/blob/s3"
)

// dyingAfter returns a store whose process dies, as S3 sees it, when it has put the first piece of an upload: nothing else of it
// arrives. die ends what it is at.
func dyingAfter(t *testing.T, o s3.Options, die func()) *s3.Store {
	t.Helper()
	at, err := url.Parse(o.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var dead atomic.Bool
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(at)
		r.Out.Host = r.In.Host // which is signed
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if dead.Load() {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
		if r.URL.Query().Get("partNumber") == "1" {
			dead.Store(true)
			die()
		}
	}))
	t.Cleanup(server.Close)
	o.Endpoint = server.URL
	return opened(t, o)
}
