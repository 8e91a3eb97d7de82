package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// forecast is a server outside, which remembers what it was asked.
type forecast struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

func newForecast(t *testing.T) *forecast {
	f := &forecast{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what does not come is missed below
		f.mu.Lock()
		f.asked = append(f.asked, r.Method+" "+r.URL.Path+" "+string(body))
		f.mu.Unlock()
		_, _ = io.WriteString(w, `{"tomorrow":17}`)
	}))
	t.Cleanup(f.Close)
	return f
}

// chainScene is one case on a tenant of its own.
type chainScene struct {
	t        *testing.T
	platform Platform
	tenant   *Tenant
	entities map[string]ref
	tokens   map[string]string
	mqtt     map[string]*mqttLink
}

// TestExportedChains runs exported chains of many shapes and ages by the same cases as `sluice chain test`: imported by REST,
// entered by devices over MQTT and HTTP, and looked at by what is stored, alarmed, sent and traced.
func TestExportedChains(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	platform := newPlatform(ctx, t, "--outside-allow=127.0.0.1/32")
	if err := platform.Start(ctx); err != nil {
		t.Fatal(err)
	}
	server, away := newForecast(t), httptest.NewServer(nil)
	away.Close()
	for _, name := range []string{
		"thermostat-alarms", "nested", "rest-call", "rest-call-away", "generator", "split-merge", "change-originator", "array-transform",
		"geofence", "delta", "checkpoint", "legacy-2.4", "device-profile-root",
	} {
		t.Run(name, func(t *testing.T) {
			url := server.URL
			if strings.HasSuffix(name, "away") {
				url = away.URL
			}
			c, chain, err := ReadChainCase(name, map[string]string{"http://forecast.test": url, `"periodInSeconds": 60`: `"periodInSeconds": 1`})
			if err != nil {
				t.Fatal(err)
			}
			s := &chainScene{t, platform, firstTenant(ctx, t, platform), map[string]ref{}, map[string]string{}, map[string]*mqttLink{}}
			t.Cleanup(func() { leaveNothing(t, platform, s.tenant) })
			s.play(ctx, c, chain)
			s.judge(ctx, c)
		})
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	if want := []string{`POST /devices/Thermostat {"temperature":21}`}; !slices.Equal(server.asked, want) {
		t.Errorf("the server was asked %q, want %q", server.asked, want)
	}
}

// leaveNothing deletes a tenant: on the parts that fleets share, a generator of its would go on in every later fleet, and one
// without script executors would wait for them with all of its partition.
func leaveNothing(t *testing.T, platform Platform, tenant *Tenant) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	id, err := tenant.ID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := firstAdministrator(ctx, t, platform).call(ctx, http.MethodDelete, "/api/tenant/"+id, nil, nil); err != nil {
		t.Error(err)
	}
}

// play has the case happen.
func (s *chainScene) play(ctx context.Context, c ChainCase, chain []byte) {
	s.t.Helper()
	if err := s.tenant.UseChain(ctx, chain); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		for _, link := range s.mqtt {
			link.close()
		}
	})
	for _, e := range c.Given {
		if err := s.give(ctx, e.Type, e.Name); err != nil {
			s.t.Fatal(err)
		}
		for scope, values := range e.Attributes {
			path := "/api/plugins/telemetry/" + s.entities[e.Name].EntityType + "/" + s.entities[e.Name].ID + "/attributes/" + scope
			if err := s.tenant.call(ctx, http.MethodPost, path, values, nil); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	for _, r := range c.Relations {
		if err := s.tenant.Contain(ctx, s.entities[r.From], s.entities[r.To]); err != nil {
			s.t.Fatal(err)
		}
	}
	for i, m := range c.Messages {
		if m.Tick != "" {
			continue // it does by itself
		}
		if err := s.send(ctx, i, m.Device, m.Type, m.Body); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *chainScene) give(ctx context.Context, kind, name string) (err error) {
	if kind == "ASSET" {
		id, err := s.tenant.NewAsset(ctx, name)
		s.entities[name] = ref{kind, id}
		return err
	}
	s.tokens[name] = unique("T")
	id, err := s.tenant.NewDevice(ctx, name, s.tokens[name])
	s.entities[name] = ref{"DEVICE", id}
	return err
}

// send sends the i-th message, by MQTT and HTTP in turn. Types that devices do not send are left out.
func (s *chainScene) send(ctx context.Context, i int, device, kind string, body json.RawMessage) error {
	if _, made := s.entities[device]; !made {
		if err := s.give(ctx, "DEVICE", device); err != nil {
			return err
		}
	}
	doors, token := s.platform.Doors(), s.tokens[device]
	switch {
	case kind == "POST_ATTRIBUTES_REQUEST":
		link := &httpLink{url: "http://" + doors.HTTP + "/api/v1/" + token + "/attributes"}
		return link.post(ctx, body)
	case kind != "":
		return nil
	case i%2 == 1:
		link := &httpLink{url: "http://" + doors.HTTP + "/api/v1/" + token + "/telemetry"}
		return link.post(ctx, body)
	}
	link := s.mqtt[device]
	if link == nil {
		link = &mqttLink{address: doors.MQTT, token: token}
		s.mqtt[device] = link
	}
	_, err := link.exchange(ctx, [][]byte{body})
	return err
}

// judge waits for what the case expects.
func (s *chainScene) judge(ctx context.Context, c ChainCase) {
	s.t.Helper()
	tenant, err := s.tenant.ID(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	s.entities["Tenant"] = ref{"TENANT", tenant}
	eventually(ctx, s.t, 20*time.Second, func() error {
		return errors.Join(s.stored(ctx, c), s.passed(ctx, c))
	})
}

func (s *chainScene) stored(ctx context.Context, c ChainCase) error {
	for name, want := range c.Stored {
		e := s.entities[name]
		if name == "Tenant" { // its generator goes on
			want.Telemetry = nil
		}
		if err := s.tenant.Holds(ctx, e, want.Telemetry); err != nil {
			return err
		}
		for scope, values := range want.Attributes {
			if err := s.tenant.HoldsAttributes(ctx, e, scope, values); err != nil {
				return err
			}
		}
		if len(want.Alarms) == 0 {
			continue
		}
		alarms, err := s.tenant.Alarms(ctx, e)
		if err != nil {
			return err
		}
		var shown []ShownAlarm
		for _, a := range want.Alarms {
			shown = append(shown, a)
		}
		if !slices.Equal(alarms, shown) {
			return fmt.Errorf("alarms of %s: want %v, got %v", name, shown, alarms)
		}
	}
	return nil
}

// passed holds the ways that messages took against those expected.
func (s *chainScene) passed(ctx context.Context, c ChainCase) error {
	taken := map[[2]string]int{}
	for name, e := range s.entities {
		steps, err := s.tenant.Steps(ctx, e)
		if err != nil {
			return fmt.Errorf("traces of %s: %w", name, err)
		}
		for step, n := range steps {
			taken[step] += n
		}
	}
	for _, want := range c.Expect {
		if want.Node == "Log Other" || want.Relation == "" { // no device sends what gets there; any way will do
			continue
		}
		step := [2]string{want.Node, want.Relation}
		if taken[step]--; taken[step] < 0 {
			return fmt.Errorf("no message left node %q by %q; what is left of the ways taken: %v", want.Node, want.Relation, taken)
		}
	}
	return nil
}
