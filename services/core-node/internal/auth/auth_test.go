package auth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/auth"
	"github.com/sluice-iot/sluice/services/core-node/internal/httpapi/httpapitest"
	"github.com/sluice-iot/sluice/services/core-node/internal/password"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage"
	"github.com/sluice-iot/sluice/services/core-node/internal/storage/pebble"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openStore(t *testing.T, fs vfs.FS) storage.Store {
	t.Helper()
	store, err := pebble.Open(pebble.Options{Dir: "store", FS: fs, DiskReserve: -1})
	if err != nil {
		t.Fatalf("open store: %v", err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func TestKeyIsMadeOnceAndKept(t *testing.T) {
	fs := vfs.NewMem()
	store := openStore(t, fs)
	keys := make([][]byte, 8)
	var nodes sync.WaitGroup
	for i := range keys {
		nodes.Go(func() {
			key, err := auth.LoadKey(t.Context(), store)
			if err != nil {
				t.Errorf("load key: %v", err)
			}
			keys[i] = key
		})
	}
	nodes.Wait()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := auth.LoadKey(t.Context(), openStore(t, fs))
	if err != nil || len(again) != 64 {
		t.Fatalf("key of %d bytes, %v", len(again), err)
	}
	for _, key := range keys {
		if !bytes.Equal(key, again) {
			t.Error("two nodes, or two starts, have different keys")
		}
	}
}

// accounts are another node's, or those after a restart: they share the store and nothing else.
func accounts(t *testing.T, p *httpapitest.Platform, change func(*auth.Options)) *auth.Accounts {
	t.Helper()
	key, err := auth.LoadKey(t.Context(), p.Store)
	if err != nil {
		t.Fatal(err)
	}
	o := auth.Options{Users: p.Entities.Users, Passwords: password.NewHasher(2, 8), Sessions: p.Store, Key: key, Settings: auth.DefaultSettings()}
	if change != nil {
		change(&o)
	}
	return auth.New(o)
}

func run(t *testing.T, a *auth.Accounts) {
	t.Helper()
	stopped := make(chan error)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { stopped <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func TestLogoutOutlivesRestarts(t *testing.T) {
	p := httpapitest.Start(t)
	token := p.Admin(t).Token
	who, err := p.Accounts.Authenticate(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // twice does no harm
		if err := p.Accounts.Logout(t.Context(), who); err != nil {
			t.Fatalf("log out: %v", err)
		}
	}
	again := accounts(t, p, nil)
	run(t, again)
	if _, err := again.Authenticate(t.Context(), token); !errors.Is(err, auth.ErrRevoked) {
		t.Errorf("after a restart: %v, want a refusal", err)
	}
}

func TestMarksOfExpiredSessionsAreSwept(t *testing.T) {
	p := httpapitest.Start(t)
	who, err := p.Accounts.Authenticate(t.Context(), p.Admin(t).Token)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Accounts.Logout(t.Context(), who); err != nil {
		t.Fatal(err)
	}
	marks := func() (n int) {
		for _, err := range p.Store.List(t.Context(), ident.TenantID{}, ident.UserSession, ident.ID{}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	for _, c := range []struct {
		later time.Duration
		want  int
	}{{time.Hour, 1}, {169 * time.Hour, 0}} {
		later := accounts(t, p, func(o *auth.Options) { o.Now = func() time.Time { return time.Now().Add(c.later) } })
		run(t, later)
		if err := later.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := marks(); got != c.want {
			t.Errorf("%d marks %v later, want %d", got, c.later, c.want)
		}
	}
}

// TestKnownTokens: a token that was read before is refused like any other once it has expired, or its session ended.
func TestKnownTokens(t *testing.T) {
	p := httpapitest.Start(t)
	now := time.Now()
	a := accounts(t, p, func(o *auth.Options) { o.Now = func() time.Time { return now } })
	run(t, a)
	expiring, ended := p.Admin(t).Token, p.Admin(t).Token
	var who auth.Principal
	for _, token := range []string{expiring, ended, expiring, ended} {
		var err error
		if who, err = a.Authenticate(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Logout(t.Context(), who); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Authenticate(t.Context(), ended); !errors.Is(err, auth.ErrRevoked) {
		t.Errorf("of a session that ended: %v", err)
	}
	if _, err := a.Authenticate(t.Context(), expiring); err != nil {
		t.Errorf("of another session: %v", err)
	}
	now = time.Now().Add(auth.DefaultSettings().AccessTTL) // from now, as both were given by now
	if _, err := a.Authenticate(t.Context(), expiring); !errors.Is(err, auth.ErrExpired) {
		t.Errorf("of one that has expired: %v", err)
	}
}

// TestForgedTokens: what is not signed by us, by the one method, with all claims, is nobody's.
func TestForgedTokens(t *testing.T) {
	p := httpapitest.Start(t)
	key, err := auth.LoadKey(t.Context(), p.Store)
	if err != nil {
		t.Fatal(err)
	}
	good := func() jwt.MapClaims {
		return jwt.MapClaims{
			"sub": "x", "iss": "thingsboard.io", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
			"userId": ident.New().String(), "sessionId": ident.New().String(), "scopes": []string{"SYS_ADMIN"},
			"tenantId": auth.NullID, "customerId": auth.NullID,
		}
	}
	for name, forge := range map[string]func() (string, error){
		"unknown user": func() (string, error) { return jwt.NewWithClaims(jwt.SigningMethodHS512, good()).SignedString(key) },
		"unsigned": func() (string, error) {
			return jwt.NewWithClaims(jwt.SigningMethodNone, good()).SignedString(jwt.UnsafeAllowNoneSignatureType)
		},
		"weaker method": func() (string, error) { return jwt.NewWithClaims(jwt.SigningMethodHS256, good()).SignedString(key) },
		"other key": func() (string, error) {
			return jwt.NewWithClaims(jwt.SigningMethodHS512, good()).SignedString([]byte("x"))
		},
	} {
		token, err := forge()
		if err != nil {
			t.Fatal(err)
		}
		if who, err := p.Accounts.Authenticate(t.Context(), token); err == nil {
			t.Errorf("%s: a token of %+v was taken", name, who)
		}
	}
	for claim, value := range map[string]any{
		"iss": "other", "exp": nil, "iat": nil, "userId": "x", "sessionId": "", "scopes": []string{"SYS_ADMIN", "TENANT_ADMIN"}, "tenantId": "x", "customerId": "",
	} {
		claims := good()
		claims[claim] = value
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS512, claims).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Accounts.Authenticate(t.Context(), token); err == nil || errors.Is(err, auth.ErrRevoked) {
			t.Errorf("%s = %v: %v, want a refusal", claim, value, err)
		}
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	p := httpapitest.Start(b)
	token := p.Admin(b).Token
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Accounts.Authenticate(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleIDText() {
	fmt.Println(auth.IDText(ident.ID{}))
	// Output: 13814000-1dd2-11b2-8080-808080808080
}
