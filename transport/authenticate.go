package transport

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-iot/sluice/proto/fault"
	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
)

// verdict is what the core said of credentials: a device, or err.
type verdict struct {
	device *Device
	err    error
	until  time.Time
	// asOf is the number of the last event heard before the core was asked.
	asOf uint64
}

// outdated reports whether v's device changed since.
func (v *verdict) outdated() bool {
	if v.device == nil {
		return false
	}
	s := v.device.state
	return s.changed.Load() > v.asOf || s.profile.Load().changed.Load() > v.asOf || s.tenant.changed.Load() > v.asOf
}

// credentials remembers verdicts. A verdict that no longer holds stays until it is replaced or
// pushed out, and its device's state (clock, rates) with it.
type credentials struct {
	known *otter.Cache[Credentials, *verdict]

	mu      sync.Mutex
	closed  bool
	flights map[Credentials]*flight
	slots   chan struct{}
	calls   sync.WaitGroup
}

// flight is a call in progress; whoever presents the same credentials meanwhile waits for it.
type flight struct {
	done    chan struct{}
	verdict *verdict
	named   atomic.Bool // an event named the credentials since they were last asked about
}

func newCredentials(c *Config) (*credentials, error) {
	known, err := otter.New(&otter.Options[Credentials, *verdict]{
		MaximumSize: c.CredentialsCached,
		// In the caller's goroutine: the cache needs none of its own.
		Executor: func(task func()) { task() },
	})
	if err != nil {
		return nil, fmt.Errorf("make the credentials cache: %w", err)
	}
	return &credentials{known: known, flights: map[Credentials]*flight{}, slots: make(chan struct{}, c.CallsInFlight)}, nil
}

// Authenticate implements Authenticator.
func (t *Transport) Authenticate(ctx context.Context, c Credentials) (*Device, error) {
	if v := t.recall(c.remembered()); v != nil {
		t.metrics.credentialHits.Inc()
		return v.device, v.err
	}
	return t.check(ctx, c)
}

// recall returns the verdict that may still be believed, nil when there is none.
func (t *Transport) recall(remembered Credentials) *verdict {
	if v, found := t.credentials.known.GetIfPresent(remembered); found && t.holds(v) {
		return v
	}
	return nil
}

// Cached implements CachedAuthenticator.
func (t *Transport) Cached(c Credentials) (d *Device, known bool, err error) {
	v := t.recall(c.remembered())
	if v == nil {
		return nil, false, nil
	}
	t.metrics.credentialHits.Inc()
	return v.device, true, v.err
}

// holds reports whether v may still be believed. While a change would not be heard of, only what the
// core said a moment ago is.
func (t *Transport) holds(v *verdict) bool {
	if v.outdated() || v.asOf < t.events.missed.Load() || v.asOf < t.events.everyone.Load() {
		return false
	}
	left := time.Until(v.until)
	if v.err == nil && t.deaf() {
		left -= max(0, t.config.CredentialsFresh-t.config.CredentialsRejected)
	}
	return left > 0
}

// check asks the core, once for all who wait for the same answer.
func (t *Transport) check(ctx context.Context, c Credentials) (*Device, error) {
	size := len(c.Token) + len(c.ClientID) + len(c.Username) + len(c.Password)
	if size > t.config.CredentialsMaxBytes || len(c.Certificates) > t.config.CertificatesMaxBytes || c.key() == "" {
		t.metrics.credentialsRejected.Inc()
		return nil, errUnknown
	}
	if !t.strangers.mayCheck(&c) {
		return nil, ErrTooManyWrong
	}
	t.metrics.credentialMisses.Inc()
	k := t.credentials
	select {
	case k.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fault.Wrap(fault.Unavailable, "wait to check credentials", ctx.Err())
	}
	f := t.join(c.clone(), false)
	if f == nil {
		return nil, fault.New(fault.Unavailable, "stopping")
	}
	select {
	case <-f.done:
		return f.verdict.device, f.verdict.err
	case <-ctx.Done():
		return nil, fault.Wrap(fault.Unavailable, "check credentials", ctx.Err())
	}
}

// join returns the flight that asks for c, started if there is none; again: although the answer to
// an earlier one may still be believed. The caller's slot goes to the new flight or back. nil: too
// late, the Transport is closed.
func (t *Transport) join(c Credentials, again bool) *flight {
	k := t.credentials
	remembered := c.remembered()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		<-k.slots
		return nil
	}
	if f := k.flights[remembered]; f != nil {
		<-k.slots
		return f
	}
	f := &flight{done: make(chan struct{})}
	// One may have ended since the caller looked for its verdict.
	if v := t.recall(remembered); v != nil && !again {
		<-k.slots
		f.verdict = v
		close(f.done)
		return f
	}
	k.flights[remembered] = f
	k.calls.Go(func() {
		var a answer
		f.verdict, a = t.ask(c, f)
		t.strangers.judged(&c, f.verdict.err)
		k.land(remembered, f)
		close(f.done)
		t.verdicts.leave(a) // nobody waits for this
		<-k.slots
	})
	return f
}

// land ends f: who comes from now on does not wait for it.
func (k *credentials) land(remembered Credentials, f *flight) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.flights[remembered] == f {
		delete(k.flights, remembered)
	}
}

// rename drops what is known of credentials whose device is another now, and marks what is being asked about them.
func (k *credentials) rename(c Credentials) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known.Invalidate(c)
	if f := k.flights[c]; f != nil {
		f.named.Store(true)
	}
}

// close lets nobody ask any more and waits for the calls in progress.
func (k *credentials) close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.calls.Wait()
}

// maxAsks is how often a question is put when its subject changes while it is being answered.
const maxAsks = 3

// answer is what was found of credentials, and where.
type answer struct {
	info *sluicepb.DeviceInfo
	err  error
	// request is what the core is asked; an answer of the core is as of place, where there is one.
	request []byte
	place   *place
	// left is how much longer an answer another transport got may be believed; zero for the core's own.
	left time.Duration
}

// ask gets a verdict from another transport or the core, and remembers it. It ends within the
// call budget. The answer returned may be left for other transports.
func (t *Transport) ask(c Credentials, f *flight) (*verdict, answer) {
	ctx, cancel := context.WithTimeout(context.Background(), t.config.CallBudget)
	defer cancel()
	request, err := proto.Marshal(c.request())
	if err != nil {
		v := &verdict{err: errUnknown} // not UTF-8: no credentials are
		t.remember(c, v, 0)
		return v, answer{}
	}
	shared := true
	for attempt := 1; ; attempt++ {
		f.named.Store(false)
		asOf, unmatched := t.events.heard.Load(), t.events.unmatched.Load()
		a := t.find(ctx, c, request, shared)
		v := &verdict{err: a.err, asOf: asOf}
		isNew := false
		if a.err == nil {
			v.device, isNew, v.err = t.device(a.info, c)
		}
		if v.err != nil {
			a = answer{} // for no other transport
		}
		// An event that came meanwhile may be younger than the answer. One about a device this
		// process knew nothing of left no trace but in unmatched.
		overtaken := v.outdated() || isNew && t.events.unmatched.Load() != unmatched
		if !overtaken && t.settle(c, f, v, a.left) {
			return v, a
		}
		if attempt == maxAsks {
			return v, answer{}
		}
		shared = false // only the core knows what is newer
	}
}

// settle remembers v and ends f, so that nobody waits for it any more; not if an event named the credentials since they were asked about:
// who came after it waits for f as well.
func (t *Transport) settle(c Credentials, f *flight, v *verdict, left time.Duration) bool {
	k := t.credentials
	k.mu.Lock()
	defer k.mu.Unlock()
	if f.named.Load() {
		return false
	}
	t.remember(c, v, left)
	delete(k.flights, c.remembered())
	return true
}

// find looks among what other transports left, if it may, and then asks the core.
func (t *Transport) find(ctx context.Context, c Credentials, request []byte, shared bool) answer {
	if shared {
		if a, found := t.verdicts.look(ctx, request, t.deaf()); found {
			return a
		}
	}
	a := answer{request: request, place: t.history.place()}
	a.info, a.err = t.callValidate(ctx, &c, request)
	return a
}

// remember keeps v as long as it may be believed, at most for left unless that is zero. A fault of
// the platform is nobody's verdict.
func (t *Transport) remember(c Credentials, v *verdict, left time.Duration) {
	keep := t.config.CredentialsFresh
	if left > 0 {
		keep = min(keep, left)
	}
	switch {
	case v.err != nil && fault.KindOf(v.err) != fault.Unauthenticated && fault.KindOf(v.err) != fault.Denied:
		return
	case v.err != nil:
		t.metrics.credentialsRejected.Inc()
		keep = t.config.CredentialsRejected
	}
	v.until = time.Now().Add(keep)
	t.credentials.known.Set(c.remembered(), v)
}
