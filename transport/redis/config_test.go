package redis

import (
	"slices"
	"strings"
	"testing"
)

func config(t *testing.T, url, mode string) Config {
	t.Helper()
	c := DefaultConfig()
	c.URL, c.Mode = url, mode
	return c
}

func TestAddresses(t *testing.T) {
	for _, k := range []struct {
		url, mode, master, password string
		addrs                       []string
		user, wants                 string
		tls                         bool
	}{
		{url: "redis://r:1/2", mode: "standalone", addrs: []string{"r:1"}},
		{url: "rediss://u:p@r:1", mode: "standalone", addrs: []string{"r:1"}, user: "u", wants: "p", tls: true},
		{url: "redis://u@r:1", mode: "standalone", password: "q", addrs: []string{"r:1"}, user: "u", wants: "q"},
		{url: "redis://a:1?addr=b:2&addr=c:3", mode: "cluster", password: "q", addrs: []string{"a:1", "b:2", "c:3"}, wants: "q"},
		{url: "redis://a:1?addr=b:2", mode: "sentinel", master: "m", password: "q", addrs: []string{"a:1", "b:2"}, wants: "q"},
	} {
		c := config(t, k.url, k.mode)
		c.Master, c.Password = k.master, k.password
		if err := c.Check(); err != nil {
			t.Errorf("%s: %v", k.url, err)
			continue
		}
		o, err := c.options()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(o.Addrs, k.addrs) || o.Username != k.user || o.Password != k.wants || o.MasterName != k.master || (o.TLSConfig != nil) != k.tls {
			t.Errorf("%s %s gives %v, user %q, password %q, master %q", k.mode, k.url, o.Addrs, o.Username, o.Password, o.MasterName)
		}
		if got := string(c.Secret()); got != k.wants {
			t.Errorf("%s: the key is %q, want %q", k.url, got, k.wants)
		}
	}
}

func TestBadSettingsAreNamed(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"redis:":            func(c *Config) { c.URL = "http://user:SECRET@host" },
		"redis-mode":        func(c *Config) { c.Mode = "x" },
		"redis-master":      func(c *Config) { c.Mode = "sentinel" },
		"redis-timeout":     func(c *Config) { c.Timeout = 0 },
		"redis-connections": func(c *Config) { c.Connections = -1 },
		"redis-limits":      func(c *Config) { c.Limits = -1 },
	} {
		c := config(t, "redis://r:1", "standalone")
		change(&c)
		err := c.Check()
		if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("error %v does not name %s, or tells too much", err, name)
		}
		c.URL = ""
		if err := c.Check(); err != nil {
			t.Errorf("without Redis: %v", err)
		}
	}
}
