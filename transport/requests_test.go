package transport_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/devicepb"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/transport"
	"github.com/sluice-iot/sluice/transport/transporttest"
)

// told collects what done and answer are called with.
type told struct {
	done   chan error
	answer chan string
}

func newTold() *told { return &told{make(chan error, 9), make(chan string, 9)} }

func (w *told) call(t *testing.T, r *transporttest.Rig, ctx context.Context, d *transport.Device, id int32, payload string) error {
	t.Helper()
	return r.Transport.CallRPC(ctx, d, id, overHTTP, []byte(payload), func(err error) { w.done <- err }, func(p string) { w.answer <- p })
}

func TestM67ARuleChainAnswersADevice(t *testing.T) {
	r := transporttest.Start(t, nil)
	device := r.Core.AddDevice("T")
	r.Core.Change(func() { device.Queue = "HighPriority" })
	d := authenticate(t, r, token("T"))
	w := newTold()
	if err := w.call(t, r, t.Context(), d, 3, `{ "params": {"a": [1, 2]}, "method":"get\u0054ime", "other": 1 }`); err != nil {
		t.Fatal(err)
	}
	if err := <-w.done; err != nil {
		t.Fatal(err)
	}
	call := r.Call(t, 0)
	if got, want := string(call.GetData()), `{"method":"getTime","params":{"a":[1,2]}}`; got != want {
		t.Errorf("the chain is given %s, want %s", got, want)
	}
	meta := call.GetMetadata()
	if call.GetType() != "TO_SERVER_RPC_REQUEST" || meta["deviceName"] != device.Name || meta["deviceType"] != "default" || meta["requestId"] != "3" ||
		call.GetQueueName() != "HighPriority" || string(call.GetOriginator().GetId()) != string(device.ID.ID[:]) || len(call.GetId()) != 16 {
		t.Errorf("message %v", call)
	}
	if accepted := r.Bus.Accepted(); accepted[0].Topic != "tb.rule-engine.HighPriority" || string(accepted[0].Key) != string(device.ID.ID[:]) {
		t.Errorf("it went to %s", accepted[0].Topic)
	}
	r.AnswerCall(t, call, `{"time":5}`)
	r.AnswerCall(t, call, `{"time":6}`) // too late
	if got := <-w.answer; got != `{"time":5}` {
		t.Errorf("answered %s", got)
	}
	if len(w.answer) > 0 {
		t.Errorf("answered again: %s", <-w.answer)
	}
}

func TestAnAnswerComesAfterTheAcknowledgement(t *testing.T) {
	r := transporttest.Start(t, nil)
	r.Core.AddDevice("T")
	d := authenticate(t, r, token("T"))
	w := newTold()
	r.Bus.Hold()
	if err := w.call(t, r, t.Context(), d, 1, `{"method":"m"}`); err != nil {
		t.Fatal(err)
	}
	call := r.Call(t, 0)
	if got := string(call.GetData()); got != `{"method":"m","params":null}` {
		t.Errorf("the chain is given %s", got)
	}
	r.AnswerCall(t, call, `1`)
	if len(w.answer) > 0 {
		t.Error("answered before the bus had the request")
	}
	r.Bus.Release(nil)
	if err := <-w.done; err != nil {
		t.Error(err)
	}
	if got := <-w.answer; got != `1` {
		t.Errorf("answered %s", got)
	}
	// Refused by the bus, it is never answered.
	r.Bus.Hold()
	if err := w.call(t, r, t.Context(), d, 1, `{"method":"m"}`); err != nil {
		t.Fatal(err)
	}
	call = r.Call(t, 1)
	r.Bus.Release(bus.ErrDeadline)
	if err := <-w.done; fault.KindOf(err) != fault.Unavailable {
		t.Errorf("done with %v", err)
	}
	r.AnswerCall(t, call, `1`)
	if len(w.answer) > 0 {
		t.Error("answered although it was refused")
	}
}

func TestM68WithoutAnAnswerARequestTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, func(c *transport.Config) { c.RPCsOfDevice = 2 })
		r.Core.AddDevice("T")
		r.Core.AddDevice("OTHER")
		synctest.Wait()
		d := authenticate(t, r, token("T"))
		w := newTold()
		ctx, leave := context.WithCancel(t.Context())
		for _, with := range []context.Context{ctx, t.Context()} {
			if err := w.call(t, r, with, d, 1, `{"method":"m"}`); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.call(t, r, t.Context(), d, 1, `{"method":"m"}`); fault.KindOf(err) != fault.Limited {
			t.Errorf("a third request at a time: %v", err)
		}
		if err := w.call(t, r, t.Context(), authenticate(t, r, token("OTHER")), 1, `{"method":"m"}`); err != nil {
			t.Errorf("another device: %v", err)
		}
		leave()
		synctest.Wait()
		if err := w.call(t, r, t.Context(), d, 1, `{"method":"m"}`); err != nil {
			t.Errorf("after one left: %v", err)
		}
		time.Sleep(time.Minute - time.Nanosecond)
		if synctest.Wait(); len(w.answer) > 0 {
			t.Errorf("answered early: %s", <-w.answer)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if len(w.answer) != 3 || <-w.answer != `{"error":"timeout"}` {
			t.Errorf("%d answers after the time", len(w.answer))
		}
	})
}

func TestRequestsOfDevicesAreChecked(t *testing.T) {
	r := transporttest.Start(t, func(c *transport.Config) { c.DeviceLimits.Messages = "2:3600" })
	r.Core.AddDevice("T")
	d := authenticate(t, r, token("T"))
	never := func(error) { t.Error("done was called") }
	for _, payload := range []string{``, `[]`, `{}`, `{"params":{}}`, `{"method":5}`, `{"method":""}`, `{"method":"m"`, `{"method":"m"}x`, `nope`} {
		err := r.Transport.CallRPC(t.Context(), d, 1, overHTTP, []byte(payload), never, func(string) { t.Error("answered") })
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("request %q: %v", payload, err)
		}
	}
	for _, payload := range []string{`[]`, `{"secretKey":5}`, `{"durationMs":"5"}`, `{"durationMs":1.5}`, `nope`} {
		if err := r.Transport.Claim(d, overHTTP, []byte(payload), never); fault.KindOf(err) != fault.Invalid {
			t.Errorf("claim %q: %v", payload, err)
		}
	}
	done := make(chan error, 1)
	claim := func() error { return r.Transport.Claim(d, overHTTP, nil, func(err error) { done <- err }) }
	for range 2 {
		if err := claim(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if err := claim(); !errors.Is(err, transport.ErrRateLimited) {
		t.Errorf("a claim above the rate: %v", err)
	}
	if err := r.Transport.ReplyRPC(d, 1, overHTTP, nil, never); !errors.Is(err, transport.ErrRateLimited) {
		t.Errorf("a reply above the rate: %v", err)
	}
}

func TestM71ClaimsGoToTheOwner(t *testing.T) {
	r := transporttest.Start(t, nil)
	device := r.Core.AddDevice("T")
	d := authenticate(t, r, token("T"))
	for payload, want := range map[string]*sluicepb.ClaimDevice{
		``:                                    {},
		`{}`:                                  {},
		`{"secretKey":"42","durationMs":500}`: {Secret: "42", DurationMs: 500},
		`{"secretKey":null,"durationMs":-5}`:  {},
	} {
		done := make(chan error, 1)
		if err := r.Transport.Claim(d, overHTTP, []byte(payload), func(err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		r.Report(t, func(m *sluicepb.CoreMessage) bool {
			c := m.GetClaim()
			return c != nil && c.Secret == want.Secret && c.DurationMs == want.DurationMs && c.ReceivedAtMs > 0 &&
				string(m.GetEntity().GetId()) == string(device.ID.ID[:])
		})
	}
}

func TestRepliesAndProgressGoToTheOwner(t *testing.T) {
	r := transporttest.Start(t, nil)
	r.Core.AddDevice("T")
	d := authenticate(t, r, token("T"))
	done := make(chan error, 1)
	if err := r.Transport.ReplyRPC(d, 7, overHTTP, []byte("{\"ok\":\"\xff\"}"), func(err error) { done <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.Report(t, func(m *sluicepb.CoreMessage) bool {
		reply := m.GetRpcReply()
		return reply.GetRequestId() == 7 && reply.GetPayload() == "{\"ok\":\"\ufffd\"}"
	})
	s, _ := open(t, r, d)
	request := transport.RPCRequest{ID: 7, Request: s.ID()}
	r.Transport.ReportRPC(d, s.ID(), request, sluicepb.RpcStage_RPC_TIMED_OUT)
	r.Report(t, func(m *sluicepb.CoreMessage) bool {
		p, id := m.GetRpcProgress(), s.ID()
		return p.GetRequestId() == 7 && p.GetStage() == sluicepb.RpcStage_RPC_TIMED_OUT && string(p.GetSessionId()) == string(id[:])
	})
	// That it was sent is worth a message for persistent requests only.
	for _, persistent := range []bool{false, true} {
		r.Transport.ReportRPC(d, s.ID(), transport.RPCRequest{ID: 8, Request: s.ID(), Persistent: persistent}, sluicepb.RpcStage_RPC_SENT)
	}
	// One that nobody awaits an answer to is over once it was sent.
	r.Transport.ReportRPC(d, s.ID(), transport.RPCRequest{ID: 9, Request: s.ID(), OneWay: true}, sluicepb.RpcStage_RPC_DELIVERED)
	r.Transport.ReportRPC(d, s.ID(), request, sluicepb.RpcStage_RPC_DELIVERED)
	r.Report(t, func(m *sluicepb.CoreMessage) bool {
		return m.GetRpcProgress().GetStage() == sluicepb.RpcStage_RPC_DELIVERED
	})
	sent := 0
	for _, m := range r.Reports(t, 1) {
		if p := m.GetRpcProgress(); p != nil && p.GetStage() == sluicepb.RpcStage_RPC_SENT {
			sent++
		} else if p.GetRequestId() == 9 {
			t.Errorf("reported: %v", p)
		}
	}
	if sent != 1 {
		t.Errorf("%d reports that a request was sent", sent)
	}
}

// leaf makes a self-signed certificate, DER.
func leaf(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestM13CertificatesAreCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, nil)
		device := r.Core.AddDevice("T")
		own, issuer := leaf(t), leaf(t)
		r.Core.Change(func() { device.Certificate = own })
		synctest.Wait() // it follows changes, and what is remembered is not dropped any more for having begun to
		chain := transport.Credentials{Certificates: string(own) + string(issuer), Token: "ignored"}
		for range 2 {
			if d := authenticate(t, r, chain); d.ID != device.ID {
				t.Errorf("device %v", d.ID)
			}
		}
		if d, known, err := r.Transport.Cached(chain); !known || err != nil || d.ID != device.ID {
			t.Errorf("remembered: %v %v %v", d, known, err)
		}
		expectAsked(t, r, 1)
		expectKind(t, r, transport.Credentials{Certificates: string(issuer)}, fault.Unauthenticated)
		expectAsked(t, r, 2)
		expectKind(t, r, transport.Credentials{Certificates: "no certificate"}, fault.Unauthenticated)
		expectKind(t, r, transport.Credentials{Certificates: strings.Repeat(string(own), 100)}, fault.Unauthenticated)
		expectAsked(t, r, 2)
		r.Changed(t, device, false, true)
		r.Core.Change(func() { device.Certificate = issuer })
		expectKind(t, r, chain, fault.Unauthenticated)
	})
}

func TestOptionsFollowTheProfile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, nil)
		first, second := r.Core.AddDevice("T"), r.Core.AddDevice("U")
		r.Core.AddDevice("PLAIN")
		r.Core.Change(func() {
			second.Profile = first.Profile
			first.Options = &sluicepb.ProfileOptions{TelemetryTopic: "a/+"}
			second.Options = &sluicepb.ProfileOptions{TelemetryTopic: "a/+"}
		})
		synctest.Wait()
		d, e := authenticate(t, r, token("T")), authenticate(t, r, token("U"))
		if d.Options().GetTelemetryTopic() != "a/+" || d.Options() != e.Options() {
			t.Errorf("options %v and %v are not one", d.Options(), e.Options())
		}
		if plain := authenticate(t, r, token("PLAIN")); plain.Options() == nil {
			t.Error("a profile that says nothing has no options")
		}
		open(t, r, d)
		r.Core.Change(func() { first.Options = &sluicepb.ProfileOptions{TelemetryTopic: "b"} })
		r.Changed(t, first, false, false)
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		if got := d.Options().GetTelemetryTopic(); got != "b" {
			t.Errorf("a second later the topic is %q", got)
		}
	})
}

func TestDevicesBehindAGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := transporttest.Start(t, func(c *transport.Config) { c.DeviceLimits.Messages = "3:3600" })
		synctest.Wait() // events are heard: what was asked before would be asked again
		gateway := r.Core.AddDevice("T")
		r.Core.Change(func() { gateway.MaxDevices = 2 })
		g := authenticate(t, r, token("T"))
		for range 2 { // the second time without asking
			a, err := r.Transport.Behind(t.Context(), g, "A", "meter")
			if err != nil || a.Name != "A" || a.Type != "meter" || a.Tenant != gateway.Tenant {
				t.Fatalf("device %+v, error %v", a, err)
			}
		}
		expectAsked(t, r, 2)
		if child := r.Core.Child(gateway, "A"); child.Behind != gateway.ID {
			t.Errorf("made for %v", child.Behind)
		}
		if _, err := r.Transport.Behind(t.Context(), g, "B", ""); !errors.Is(err, transport.ErrTooManyDevices) {
			t.Errorf("one more than the tenant may have: %v", err)
		}
		if _, err := r.Transport.Behind(t.Context(), g, "", ""); fault.KindOf(err) != fault.Invalid {
			t.Errorf("without a name: %v", err)
		}
		r.Core.Fail(fault.New(fault.Unavailable, "away"))
		if _, err := r.Transport.Behind(t.Context(), g, "C", ""); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("while the core is away: %v", err)
		}
		r.Core.Fail(nil)
		if _, err := r.Transport.Behind(t.Context(), g, "C", ""); !errors.Is(err, transport.ErrRateLimited) {
			t.Errorf("more than the gateway's rate: %v", err)
		}
		// A child that is deleted is made again at its next mention.
		child := r.Core.Child(gateway, "A")
		r.Core.Remove(child)
		r.Changed(t, child, true, false)
		if _, err := r.Transport.Behind(t.Context(), g, "A", "meter"); !errors.Is(err, transport.ErrRateLimited) {
			t.Errorf("a deleted device is remembered: %v", err)
		}
	})
}

func TestM73Provisioning(t *testing.T) {
	r := transporttest.Start(t, nil)
	r.Core.AddProfile(&transporttest.Profile{Key: "k", Secret: "s"})
	for _, c := range []struct {
		request, answer string
		granted         bool
	}{
		{
			`{"provisionDeviceKey":"k","provisionDeviceSecret":"s","deviceName":"n","token":"42"}`,
			`{"credentialsValue":"42","credentialsType":"ACCESS_TOKEN","status":"SUCCESS"}`, true,
		},
		{
			`{"provisionDeviceKey":"k","provisionDeviceSecret":"s","deviceName":"n"}`,
			`{"errorMsg":"Failed to provision device!","status":"FAILURE"}`, false,
		},
		{
			`{"provisionDeviceKey":"k","provisionDeviceSecret":"wrong"}`,
			`{"errorMsg":"Provision data was not found!","status":"NOT_FOUND"}`, false,
		},
		{
			`{"provisionDeviceKey":"k","provisionDeviceSecret":"s","deviceName":"b","credentialsType":"MQTT_BASIC","clientId":"c","username":"u","password":"p"}`,
			`{"credentialsValue":{"clientId":"c","password":"p","userName":"u"},"credentialsType":"MQTT_BASIC","status":"SUCCESS"}`, true,
		},
	} {
		answer, granted, err := r.Transport.Provision(t.Context(), []byte(c.request), true, netip.Addr{})
		if err != nil || granted != c.granted || string(answer) != c.answer {
			t.Errorf("%s: %s (%v) %v, want %s", c.request, answer, granted, err, c.answer)
		}
	}
	authenticate(t, r, token("42"))
	for _, request := range []string{``, `nope`, `[]`, `{}`, `{"provisionDeviceKey":"k"}`, `{"provisionDeviceKey":"k","provisionDeviceSecret":null}`, `{"provisionDeviceKey":"k","provisionDeviceSecret":"s","gateway":1}`} {
		if _, _, err := r.Transport.Provision(t.Context(), []byte(request), false, netip.Addr{}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", request, err)
		}
	}
}

func TestProvisioningInProtobuf(t *testing.T) {
	r := transporttest.Start(t, nil)
	r.Core.AddProfile(&transporttest.Profile{Key: "k", Secret: "s"})
	request, err := proto.Marshal(&devicepb.ProvisionRequest{
		DeviceName: "n", Keys: &devicepb.ProvisionKeys{ProvisionDeviceKey: "k", ProvisionDeviceSecret: "s"},
		Credentials: &devicepb.ProvisionCredentials{Token: &devicepb.ProvisionCredentials_Token{Token: "t"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Transport.Provision(t.Context(), request, false, netip.Addr{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("where only JSON is spoken: %v", err)
	}
	for _, want := range []devicepb.ProvisionStatus{devicepb.ProvisionStatus_SUCCESS, devicepb.ProvisionStatus_FAILURE} {
		answer, granted, err := r.Transport.Provision(t.Context(), request, true, netip.Addr{})
		var got devicepb.ProvisionResponse
		if err != nil || granted != (want == devicepb.ProvisionStatus_SUCCESS) || proto.Unmarshal(answer, &got) != nil || got.GetStatus() != want {
			t.Errorf("%v (%v), %v, want %v", &got, granted, err, want)
		}
		if granted && got.GetCredentialsValue() != "t" {
			t.Errorf("credentials %q", got.GetCredentialsValue())
		}
	}
	authenticate(t, r, token("t"))
}

func TestPackages(t *testing.T) {
	r := transporttest.Start(t, nil)
	device := r.Core.AddDevice("T")
	d := authenticate(t, r, token("T"))
	if _, err := r.Transport.FindPackage(t.Context(), d, sluicepb.PackageType_FIRMWARE); fault.KindOf(err) != fault.NotFound {
		t.Errorf("nothing is assigned: %v", err)
	}
	data := make([]byte, 600_000)
	rand.Read(data)
	assigned := r.Core.AddPackage("fw", "1", data)
	r.Core.Change(func() { device.Firmware = assigned })
	p, err := r.Transport.FindPackage(t.Context(), d, sluicepb.PackageType_FIRMWARE)
	if err != nil || p.Title != "fw" || p.Size != int64(len(data)) || p.ContentType != "application/octet-stream" || p.Tenant != device.Tenant {
		t.Fatalf("found %+v, %v", p, err)
	}
	if _, err := r.Transport.FindPackage(t.Context(), d, sluicepb.PackageType_SOFTWARE); fault.KindOf(err) != fault.NotFound {
		t.Errorf("firmware is no software: %v", err)
	}
	for _, c := range [][2]int64{{0, 600_000}, {0, 1}, {262_143, 2}, {262_144, 262_144}, {599_999, 5}, {600_000, 5}, {1 << 40, 1}, {-1, 5}, {5, 0}, {5, 1 << 62}} {
		from := min(max(c[0], 0), int64(len(data)))
		to := from
		if c[0] >= 0 {
			to = min(from+c[1], int64(len(data)))
		}
		if c[1] == 1<<62 {
			to = int64(len(data))
		}
		got, err := r.Transport.ReadPackage(t.Context(), p, c[0], c[1])
		if err != nil || string(got) != string(data[from:to]) {
			t.Errorf("%v: %d bytes, %v, want %d", c, len(got), err, to-from)
		}
	}
	r.Core.Fail(fault.New(fault.Unavailable, "away"))
	if _, err := r.Transport.FindPackage(t.Context(), d, sluicepb.PackageType_FIRMWARE); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("while the core is away: %v", err)
	}
}
