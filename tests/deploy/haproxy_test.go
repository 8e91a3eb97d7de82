package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// section returns the lines of one section of the balancer's configuration, without comments.
func section(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "haproxy", "haproxy.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	inside := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(regexp.MustCompile(`(^|\s)#.*`).ReplaceAllString(line, ""), " \n")
		if line != "" && !strings.HasPrefix(line, " ") {
			inside = line == name
			continue
		}
		if inside && line != "" {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	if len(lines) == 0 {
		t.Fatalf("no section %q", name)
	}
	return strings.Join(lines, "\n")
}

// TestBalancer holds the configuration to what operators and devices were promised.
func TestBalancer(t *testing.T) {
	for _, rule := range []struct{ section, want, why string }{
		{"global", `(?m)^ssl-default-bind-options ssl-min-ver TLSv1\.2`, "TLS 1.2 at least"},
		{"defaults", `(?m)^default-server check port 9090 .*resolvers docker .*init-addr none`, "servers are found by name, and asked whether they are ready"},
		{"resolvers docker", `nameserver docker 127\.0\.0\.11:53`, "Docker's own DNS"},
		{"frontend mqtt", `tcp-request content reject unless \{ req\.payload\(0,1\) -m bin 10 \}`, "nothing but CONNECT reaches a transport"},
		{"frontend mqtt", `tcp-request inspect-delay \d`, "who says nothing is closed"},
		{"frontend mqtts", `tcp-request content accept if \{ req\.ssl_hello_type 1 \}`, "nothing but TLS reaches a transport"},
		{"backend mqtt", `balance leastconn`, "connections are long"},
		{"backend mqtt", `server-template mqtt 1-\d+ mqtt-transport:1883 .*send-proxy-v2`, "transports learn the device's address"},
		{"backend mqtts", `server-template mqtts 1-\d+ mqtt-transport:8883 .*send-proxy-v2`, "TLS is passed through"},
		{"backend http_transport", `set-var\(txn\.device\) path,word\(3,/\)[^\n]*\nbalance hash var\(txn\.device\)\nhash-type consistent`, "a device stays at one transport"},
		{"backend core_node", `balance hash var\(txn\.person\)`, "a person stays at one node"},
		{"backend core_node", `hash-type consistent`, "scaling moves few people"},
		{"backend core_node", `timeout tunnel`, "WebSocket"},
		{"backend core_node", `X-Authorization`, "the header clients send"},
		{"frontend web", `http-request del-header X-Forwarded- -m beg`, "clients do not say where they come from"},
		{"frontend web", `use_backend acme if challenge`, "Let's Encrypt"},
		{"frontend web", `use_backend http_transport if device`, "devices"},
		{"frontend web", `bind :8443 ssl crt /certs/`, "certificates come from a folder"},
		{"frontend operators", `(?m)\Amode http\nbind :8404 ssl .*\n(timeout .*\n)+http-request auth realm operators unless \{ http_auth\(operators\) \}`, "the password is asked before anything else"},
	} {
		if !regexp.MustCompile(rule.want).MatchString(section(t, rule.section)) {
			t.Errorf("%s: %s: nothing matches %s", rule.section, rule.why, rule.want)
		}
	}
	for _, backend := range []string{"mqtt", "mqtts", "http_transport", "mqtt_websocket", "core_node"} {
		if !strings.Contains(section(t, "backend "+backend), "option httpchk GET /ready") {
			t.Errorf("backend %s does not ask for readiness", backend)
		}
	}
}

// TestBalancerKeepsNoSecrets: no password and no path with a device's token.
func TestBalancerKeepsNoSecrets(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(folder, "haproxy", "haproxy.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, forbidden := range []string{`(?m)^\s*(insecure-)?user `, `userlist`, `stats auth`, `insecure-password`, `(?m)^\s*option httplog`, `RC4|3DES|CBC`} {
		if found := regexp.MustCompile(forbidden).FindString(string(text)); found != "" {
			t.Errorf("%q in haproxy.cfg", found)
		}
	}
	if format := regexp.MustCompile(`log-format ".*"`).FindString(section(t, "frontend web")); format == "" || regexp.MustCompile(`%(\{[^}]*\})?(r|HP|HU|HQ|hr)\b`).MatchString(format) {
		t.Errorf("the log of requests names paths, which hold devices' tokens: %s", format)
	}
}
