package outside_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/services/core-node/internal/outside"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func with(change func(*outside.Settings)) *outside.Outside {
	s := outside.DefaultSettings()
	if change != nil {
		change(&s)
	}
	return outside.New(outside.Options{Settings: s})
}

func TestOnlyPublicAddressesAreReached(t *testing.T) {
	o := with(nil)
	for _, address := range []string{
		"127.0.0.1:80", "127.9.9.9:80", "localhost:80", "[::1]:80", "0.0.0.0:80", "[::]:80", "10.0.0.1:80", "172.16.0.1:80", "192.168.1.1:80",
		"169.254.169.254:80", "[fe80::1]:80", "[fd00:ec2::254]:80", "100.100.100.200:80", "168.63.129.16:80", "192.0.0.192:80", "224.0.0.1:80", "255.255.255.255:80",
		"[ff02::1]:80", "[::ffff:127.0.0.1]:80", "[::127.0.0.1]:80", "[64:ff9b::7f00:1]:80", "[2002:7f00:1::]:80", "[2001::1]:80", "198.18.0.1:80", "240.0.0.1:80",
		"2130706433:80", "0x7f.1:80", "127.1:80",
	} {
		connection, err := o.Dial(t.Context(), "tcp", address)
		if err == nil {
			connection.Close()
			t.Errorf("%s is reached", address)
		}
		var unknown *net.DNSError
		if !errors.Is(err, outside.ErrRefused) && !errors.As(err, &unknown) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestWhatIsAllowedIsReached(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	address := server.Listener.Addr().String()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	for name, is := range map[string]struct {
		allow   []string
		guard   bool
		address string
		reached bool
	}{
		"its network":               {[]string{"127.0.0.0/8"}, true, address, true},
		"its name":                  {[]string{"LOCALHOST:" + port}, true, "localhost:" + port, true},
		"another name of its":       {[]string{"localhost:" + port}, true, address, false},
		"another port":              {[]string{"127.0.0.1:1"}, true, address, false},
		"another network":           {[]string{"10.0.0.0/8"}, true, address, false},
		"everything, without guard": {nil, false, address, true},
		"nothing":                   {nil, true, address, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := with(func(s *outside.Settings) { s.Allow, s.Guard = is.allow, is.guard })
			connection, err := o.Dial(t.Context(), "tcp", is.address)
			if err == nil {
				connection.Close()
			}
			if (err == nil) != is.reached {
				t.Errorf("reached: %v, %v", err == nil, err)
			}
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	reached := false
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer inner.Close()
	outer := httptest.NewServer(http.RedirectHandler(inner.URL, http.StatusFound))
	defer outer.Close()
	o := with(func(s *outside.Settings) { s.Allow = []string{"127.0.0.0/8"} })
	client, err := o.NewHTTPClient(outside.HTTPKey{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	answer, err := client.Get(outer.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusFound || reached {
		t.Errorf("status %d, the redirect followed: %v", answer.StatusCode, reached)
	}
}

func TestBadSettingsAreNamed(t *testing.T) {
	for _, change := range []func(*outside.Settings){
		func(s *outside.Settings) { s.Allow = []string{"10.0.0.0/33"} }, func(s *outside.Settings) { s.Allow = []string{"example.org"} },
		func(s *outside.Settings) { s.Clients = 0 }, func(s *outside.Settings) { s.Timeout = -1 },
	} {
		s := outside.DefaultSettings()
		change(&s)
		if s.Validate() == nil {
			t.Errorf("taken: %+v", s)
		}
	}
	if err := outside.DefaultSettings().Validate(); err != nil {
		t.Error(err)
	}
}

type client struct {
	mu     sync.Mutex
	closed int
}

func (c *client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed++
	return nil
}

func (c *client) times() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

type key string

func lend(t *testing.T, o *outside.Outside, k key, c io.Closer) (io.Closer, func(bool)) {
	t.Helper()
	got, giveBack, err := outside.Lend(t.Context(), o, k, func(context.Context) (io.Closer, error) { return c, nil })
	if err != nil {
		t.Fatal(err)
	}
	return got, giveBack
}

func TestClientsAreSharedUntilIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := with(nil)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- o.Run(ctx) }()
		first, second := &client{}, &client{}
		a, giveA := lend(t, o, "k", first)
		b, giveB := lend(t, o, "k", second)
		if a != first || b != first {
			t.Error("nodes that are configured alike have different clients")
		}
		giveA(false)
		time.Sleep(5 * time.Minute)
		if first.times() != 0 {
			t.Error("closed while it was in use")
		}
		giveB(false)
		time.Sleep(2 * time.Minute)
		if first.times() != 1 {
			t.Errorf("closed %d times after it was idle", first.times())
		}
		_, give := lend(t, o, "k", second)
		give(false)
		third := &client{}
		_, giveThird := lend(t, o, "busy", third)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if second.times() != 1 || third.times() != 0 {
			t.Errorf("at the end an idle one was closed %d times, one in use %d times", second.times(), third.times())
		}
		giveThird(false)
		if third.times() != 1 {
			t.Errorf("what was in use at the end is closed %d times", third.times())
		}
		if _, _, err := outside.Lend(t.Context(), o, key("late"), func(context.Context) (io.Closer, error) { return first, nil }); err == nil {
			t.Error("a client is lent after the end")
		}
	})
}

func TestBrokenClientsAreNotLentAgain(t *testing.T) {
	o := with(nil)
	first, second := &client{}, &client{}
	_, giveA := lend(t, o, "k", first)
	_, giveB := lend(t, o, "k", first)
	giveA(true)
	if got, give := lend(t, o, "k", second); got != second || first.times() != 0 {
		t.Error("the broken client is lent again, or was closed in use")
	} else {
		give(false)
	}
	giveB(true)
	if first.times() != 1 || second.times() != 0 {
		t.Errorf("closed %d and %d times", first.times(), second.times())
	}
}

func TestClientsAreBounded(t *testing.T) {
	o := with(func(s *outside.Settings) { s.Clients = 2 })
	first, second, third := &client{}, &client{}, &client{}
	_, giveA := lend(t, o, "a", first)
	_, giveB := lend(t, o, "b", second)
	if _, _, err := outside.Lend(t.Context(), o, key("c"), func(context.Context) (io.Closer, error) { return third, nil }); err == nil {
		t.Error("more clients are open than may be")
	}
	giveA(false)
	_, giveC := lend(t, o, "c", third)
	if first.times() != 1 {
		t.Error("the one nobody used was not closed for another")
	}
	giveB(false)
	giveC(false)
}

func TestAClientThatCannotBeOpenedIsTriedAgain(t *testing.T) {
	o := with(nil)
	away := errors.New("away")
	if _, _, err := outside.Lend(t.Context(), o, key("k"), func(context.Context) (io.Closer, error) { return nil, away }); !errors.Is(err, away) {
		t.Errorf("error %v", err)
	}
	c := &client{}
	got, give := lend(t, o, "k", c)
	if got != c {
		t.Error("it was not opened again")
	}
	give(false)
}
