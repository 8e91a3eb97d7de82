package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"github.com/sluice-iot/sluice/tests/load"
)

// The demo's tenant administrator and one of its devices.
const (
	demoUser     = "tenant@thingsboard.org"
	demoPassword = "tenant"
	demoToken    = "A1_TEST_TOKEN"
)

// doors is where a platform, of one process or several, is found, and who asks there.
type doors struct {
	mqtt, http, coap string
	people           string // REST and WebSockets
	// admins are the admin listeners of the processes that store.
	admins []string
	jwt    string // the tenant administrator's, once addDevices or logIn got it
}

// door is where devices of a protocol find it.
func (d *doors) door(protocol string) string {
	return map[string]string{"mqtt": d.mqtt, "http": d.http, "coap": d.coap}[protocol]
}

// platform is a sluice process with everything on.
type platform struct {
	*child
	doors
	admin string
}

// startPlatform starts command of the binary on data and free ports, and waits until it is ready.
func (b *bench) startPlatform(command, data string) (*platform, error) {
	p, err := b.launch(command, data)
	if err != nil {
		return nil, err
	}
	return p, p.awaitReady()
}

// launch is startPlatform without waiting.
func (b *bench) launch(command, data string) (*platform, error) {
	p := &platform{}
	arguments := []string{command, "--data", data, "--log-level", "warn"}
	for _, listen := range []struct {
		flag, network string
		address       *string
	}{{"--mqtt-listen", "tcp", &p.mqtt}, {"--http-listen", "tcp", &p.http}, {"--coap-listen", "udp", &p.coap}, {"--admin-listen", "tcp", &p.admin}} {
		var err error
		if *listen.address, err = freeAddress(listen.network); err != nil {
			return nil, err
		}
		arguments = append(arguments, listen.flag, *listen.address)
	}
	if command == "demo" {
		arguments = append(arguments, "--demo-interval", "0")
	}
	p.people, p.admins = p.http, []string{p.admin}
	var err error
	if p.child, err = start(nil, b.binary, arguments...); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *platform) awaitReady() error {
	if err := awaitReady(p.admin); err != nil {
		return errors.Join(err, p.stop())
	}
	return nil
}

// awaitReady waits until the process whose admin listener is at address says that it is ready.
func awaitReady(address string) error {
	for range 4000 {
		if answer, err := http.Get("http://" + address + "/ready"); err == nil {
			_ = answer.Body.Close() // its status is all there is to it
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	return errors.New("sluice does not become ready")
}

// startLoaded starts the demo without its simulated devices, and with n devices as package load has them.
func (b *bench) startLoaded(ctx context.Context, dir string, n int) (*platform, error) {
	p, err := b.startPlatform("demo", filepath.Join(dir, "data"))
	if err != nil {
		return nil, err
	}
	if err := p.addDevices(ctx, 0, n); err != nil {
		return nil, fmt.Errorf("add devices: %w", errors.Join(err, p.stop()))
	}
	return p, nil
}

// addDevices adds those of package load numbered from from up to below to.
func (d *doors) addDevices(ctx context.Context, from, to int) error {
	if err := d.logIn(ctx); err != nil {
		return err
	}
	const atOnce = 8
	errs := make(chan error, to-from)
	places := make(chan struct{}, atOnce)
	var adding sync.WaitGroup
	for i := range to - from {
		places <- struct{}{}
		adding.Go(func() {
			defer func() { <-places }()
			_, err := d.addDevice(ctx, load.Token(from+i))
			errs <- err
		})
	}
	adding.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *doors) logIn(ctx context.Context) error {
	var tokens struct{ Token string }
	err := d.call(ctx, "/api/auth/login", map[string]string{"username": demoUser, "password": demoPassword}, &tokens)
	d.jwt = tokens.Token
	return err
}

// addDevice makes a device known by token and returns its id.
func (d *doors) addDevice(ctx context.Context, token string) (id string, err error) {
	var made struct{ ID struct{ ID string } }
	err = d.call(ctx, "/api/device?accessToken="+url.QueryEscape(token), map[string]string{"name": token, "type": "default"}, &made)
	return made.ID.ID, err
}

// call posts body and decodes the answer; without a body it gets.
func (d *doors) call(ctx context.Context, path string, body, answer any) error {
	method, sent := http.MethodGet, []byte(nil)
	if body != nil {
		method = http.MethodPost
		var err error
		if sent, err = json.Marshal(body); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+d.people+path, bytes.NewReader(sent))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if d.jwt != "" {
		request.Header.Set("X-Authorization", "Bearer "+d.jwt)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%s: %d %s", path, response.StatusCode, text)
	}
	return json.Unmarshal(text, answer)
}

// everything measures with all services on and every message stored, sooner or later.
func (b *bench) everything(generate generator, o load.Options, address func(*platform) string) func(context.Context, string) (float64, error) {
	return func(ctx context.Context, dir string) (float64, error) {
		p, err := b.startLoaded(ctx, dir, o.Clients)
		if err != nil {
			return 0, err
		}
		return loaded(ctx, p.child, generate, o, address(p))
	}
}
