package deviceapi

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/payload"
)

// readAttributes answers GET attributes.
func (a *API) readAttributes(w http.ResponseWriter, r *http.Request, token string) {
	started := time.Now()
	found, err := a.attributes(r, token)
	a.metrics.seconds[routeRead].Observe(time.Since(started).Seconds())
	if err != nil {
		a.fail(w, routeRead, err)
		return
	}
	a.metrics.ok[routeRead].Inc()
	w.Header().Set("Content-Type", "application/json")
	// An error means that nobody reads the answer any more.
	_, _ = w.Write(payload.AppendAttributes(nil, found.Client, found.Shared))
}

func (a *API) attributes(r *http.Request, token string) (transport.Attributes, error) {
	d, err := a.platform.Authenticate(r.Context(), a.credentials(r, token))
	if err != nil {
		return transport.Attributes{}, err
	}
	return a.platform.ReadAttributes(r.Context(), d, attributeQuery(r.URL.Query()))
}

// attributeQuery reads the comma lists clientKeys and sharedKeys; a repeated parameter adds to
// its list. Neither given means everything.
func attributeQuery(parameters url.Values) transport.AttributeQuery {
	client := strings.Join(parameters["clientKeys"], ",")
	shared := strings.Join(parameters["sharedKeys"], ",")
	if client == "" && shared == "" {
		return transport.AttributeQuery{AllClient: true, AllShared: true}
	}
	return transport.AttributeQuery{ClientKeys: splitKeys(client), SharedKeys: splitKeys(shared)}
}

func splitKeys(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}
