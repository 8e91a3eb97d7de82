package part

import (
	"context"
	"encoding/csv"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
)

// Server is a place in a balancer's list: where it serves, and where its /ready is asked. A place whose server does
// not run, or is not ready, gets nothing.
type Server struct{ Address, Admin string }

// Balanced is what HAProxy stands before. Places may be listed for servers that start later.
type Balanced struct {
	Core          []Server // REST, and /api/ws
	HTTP          []Server // the devices' HTTP API, /api/v1/
	MQTT          []Server
	MQTTWebSocket []Server // /mqtt
	MQTTTLS       []Server // passed through; empty: no such door
	Proxy         bool     // tell MQTT servers the client's address by PROXY v2
}

// HAProxy is a balancer with one address per door.
type HAProxy struct {
	*Single
	MQTT, MQTTTLS, HTTP string
	statistics          string
}

// NewHAProxy installs HAProxy where that is needed and prepares it in dir.
func NewHAProxy(ctx context.Context, dir string, b Balanced) (*HAProxy, error) {
	if err := debian(ctx, needed{"haproxy", "haproxy"}); err != nil {
		return nil, err
	}
	addresses, err := freeAddresses(4)
	if err != nil {
		return nil, err
	}
	h := &HAProxy{MQTT: addresses[0], HTTP: addresses[1], statistics: addresses[3]}
	if len(b.MQTTTLS) > 0 {
		h.MQTTTLS = addresses[2]
	}
	dir = filepath.Join(dir, "haproxy")
	if err := folder(dir, map[string]string{"haproxy.cfg": h.config(b)}); err != nil {
		return nil, fmt.Errorf("prepare HAProxy: %w", err)
	}
	h.Single = &Single{address: h.HTTP, Process: NewProcess(Command{
		Name: "haproxy", Program: find("haproxy"), Args: []string{"-db", "-f", "haproxy.cfg"}, Dir: dir,
		// 404 comes from no backend: the door is open.
		Ready: func(ctx context.Context) error {
			return ask(ctx, h.HTTP, []byte("GET /balancer HTTP/1.0\r\n\r\n"), "404")
		},
	})}
	return h, nil
}

const haproxyHead = `global
  log stdout format raw local0 notice
defaults
  log global
  timeout connect 2s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
  retries 3
  option redispatch 1
  default-server inter 200ms fastinter 100ms downinter 100ms fall 2 rise 1 observe layer4 error-limit 1 on-error mark-down
`

// Up tells of the server at each address whether HAProxy sends to it. One that is listed for several doors counts as up
// when it is for all of them.
func (h *HAProxy) Up(ctx context.Context) (map[string]bool, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.statistics+"/;csv", nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask HAProxy: %w", err)
	}
	defer answer.Body.Close()
	lines, err := csv.NewReader(answer.Body).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("ask HAProxy: %w", err)
	}
	status, address := slices.Index(lines[0], "status"), slices.Index(lines[0], "addr")
	if status < 0 || address < 0 {
		return nil, fmt.Errorf("ask HAProxy: no status or address in %q", lines[0])
	}
	up := map[string]bool{}
	for _, line := range lines[1:] {
		if at := line[address]; at != "" && line[1] != "FRONTEND" {
			before, listed := up[at]
			up[at] = strings.HasPrefix(line[status], "UP") && (before || !listed)
		}
	}
	return up, nil
}

// config writes what production's configuration does, with places for servers instead of names to resolve.
func (h *HAProxy) config(b Balanced) string {
	var c strings.Builder
	c.WriteString(haproxyHead)
	fmt.Fprintf(&c, "frontend mqtt\n  mode tcp\n  bind %s\n  default_backend mqtt\n", h.MQTT)
	if h.MQTTTLS != "" {
		fmt.Fprintf(&c, "frontend mqtt-tls\n  mode tcp\n  bind %s\n  default_backend mqtt-tls\n", h.MQTTTLS)
		backend(&c, "mqtt-tls", "  mode tcp\n  balance leastconn\n", b.MQTTTLS, b.Proxy)
	}
	fmt.Fprintf(&c, `frontend http
  mode http
  bind %s
  http-request return status 404 if { path /balancer }
  use_backend mqtt-websocket if { path /mqtt }
  use_backend devices if { path_beg /api/v1/ }
  default_backend people
`, h.HTTP)
	fmt.Fprintf(&c, "frontend statistics\n  mode http\n  bind %s\n  stats enable\n  stats uri /\n  stats show-legends\n  http-request deny unless { src 127.0.0.0/8 }\n", h.statistics)
	backend(&c, "mqtt", "  mode tcp\n  balance leastconn\n", b.MQTT, b.Proxy)
	backend(&c, "mqtt-websocket", "  mode http\n  balance leastconn\n", b.MQTTWebSocket, false)
	// As in production a device's requests go to one transport: two could give two readings the same millisecond.
	backend(&c, "devices", "  mode http\n  http-request set-var(txn.device) path,word(3,/)\n  balance hash var(txn.device)\n  hash-type consistent\n", b.HTTP, false)
	backend(&c, "people", "  mode http\n  balance hdr(X-Authorization)\n  hash-type consistent\n", b.Core, false)
	return c.String()
}

func backend(c *strings.Builder, name, head string, servers []Server, proxy bool) {
	fmt.Fprintf(c, "backend %s\n%s  option httpchk GET /ready\n", name, head)
	for i, s := range servers {
		host, port := split(s.Admin)
		fmt.Fprintf(c, "  server %s-%d %s check addr %s port %s", name, i+1, s.Address, host, port)
		if proxy {
			c.WriteString(" send-proxy-v2")
		}
		c.WriteByte('\n')
	}
}
