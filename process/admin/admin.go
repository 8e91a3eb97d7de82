// Package admin is the listener for those who operate a process: /live, /ready, /metrics, and
// the requests that services register.
package admin

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Limits on requests: operators' requests are small and few.
const (
	headerTimeout  = 5 * time.Second
	requestTimeout = 60 * time.Second
	maxHeaderBytes = 16 << 10
	drainTimeout   = 2 * time.Second
)

// maxSocketPath is what every operating system takes as the path of a Unix socket.
const maxSocketPath = 103

// Config is where the listener listens and whom it answers.
type Config struct {
	Listen string `name:"admin-listen" default:"127.0.0.1:9090" help:"Address for operators: /live, /ready, /metrics and the operator commands. Empty: none."`
	Token  string `name:"admin-token" help:"Bearer token operator requests must carry; required unless the address is a loopback one."`
	// Socket is the path of a Unix socket that answers too, without a token: whoever may open it
	// may read the data beside it. Empty: none.
	Socket string `settings:"-"`
}

// Health is what /ready tells. *process.Health is one.
type Health interface {
	// Ready returns the reasons why the process is not ready, by part; none when it is.
	Ready() map[string]error
	// Degraded returns what is in trouble and does not make the process not ready, by part.
	Degraded() map[string]error
}

// Listener answers operators. Make it with New.
type Listener struct {
	config    Config
	log       *slog.Logger
	health    Health
	gatherer  prometheus.Gatherer
	operators *http.ServeMux
	listeners []net.Listener
}

// New binds the addresses of c, so that Addr is known; nobody is answered before Run.
func New(c Config, log *slog.Logger, gatherer prometheus.Gatherer, health Health) (*Listener, error) {
	l := &Listener{config: c, log: log, health: health, gatherer: gatherer, operators: http.NewServeMux()}
	if err := l.bind(); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func (l *Listener) bind() error {
	if l.config.Listen != "" {
		tcp, err := net.Listen("tcp", l.config.Listen)
		if err != nil {
			return fmt.Errorf("admin-listen: %w", err)
		}
		l.listeners = append(l.listeners, tcp)
		if l.config.Token == "" && !isLoopback(tcp.Addr()) {
			return fmt.Errorf("admin-listen: %s is not a loopback address: it needs an admin-token", l.config.Listen)
		}
	}
	if len(l.config.Socket) > maxSocketPath {
		l.log.Warn("no admin socket: its path is too long for the operating system", "path", l.config.Socket)
	} else if l.config.Socket != "" {
		unix, err := listenUnix(l.config.Socket)
		if err != nil {
			return fmt.Errorf("admin socket: %w", err)
		}
		l.listeners = append(l.listeners, unix)
	}
	return nil
}

// listenUnix takes the place of a socket that a process which was killed left behind, but not
// of one that answers.
func listenUnix(path string) (net.Listener, error) {
	if conn, err := net.DialTimeout("unix", path, headerTimeout); err == nil {
		return nil, errors.Join(fmt.Errorf("%s belongs to a running process", path), conn.Close())
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

// Addr is the TCP address listened on, or "" when there is none.
func (l *Listener) Addr() string {
	for _, listener := range l.listeners {
		if listener.Addr().Network() == "tcp" {
			return listener.Addr().String()
		}
	}
	return ""
}

// Handle registers an operators' handler under an http.ServeMux pattern. It may be called while Run runs.
func (l *Listener) Handle(pattern string, handler http.Handler) { l.operators.Handle(pattern, handler) }

// Run answers until ctx ends, then lets requests at hand end.
func (l *Listener) Run(ctx context.Context) error {
	failed := make(chan error, len(l.listeners))
	servers := make([]*http.Server, len(l.listeners))
	for i, listener := range l.listeners {
		servers[i] = l.server(listener.Addr().Network() == "tcp")
		go func() { failed <- servers[i].Serve(listener) }()
	}
	var errs []error
	waiting := len(servers)
	select {
	case <-ctx.Done():
	case err := <-failed:
		errs, waiting = append(errs, err), waiting-1
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	for _, server := range servers {
		if server.Shutdown(drain) != nil {
			errs = append(errs, server.Close())
		}
	}
	for range waiting {
		if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (l *Listener) close() error {
	var errs []error
	for _, listener := range l.listeners {
		errs = append(errs, listener.Close())
	}
	return errors.Join(errs...)
}

func (l *Listener) server(guarded bool) *http.Server {
	return &http.Server{
		Handler:           l.handler(guarded),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(l.log.Handler(), slog.LevelDebug),
	}
}

// handler routes: probes and metrics are for anyone who can connect, the rest for operators.
func (l *Listener) handler(guarded bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /ready", l.serveReady)
	mux.Handle("GET /metrics", promhttp.HandlerFor(l.gatherer, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(l.log.Handler(), slog.LevelWarn),
	}))
	if guarded {
		mux.Handle("/", l.guard(l.operators))
	} else {
		mux.Handle("/", l.operators)
	}
	return mux
}

// guard keeps out those without the token and, where there is none, web pages that have an
// operator's browser call this listener, under its own name or under one that resolves to it.
func (l *Listener) guard(next http.Handler) http.Handler {
	sameOrigin := http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case l.config.Token != "":
			if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+l.config.Token)) != 1 {
				http.Error(w, "the admin token is missing or wrong", http.StatusUnauthorized)
				return
			}
		case !namesAddress(r.Host):
			http.Error(w, "address this listener by its IP address", http.StatusForbidden)
			return
		}
		sameOrigin.ServeHTTP(w, r)
	})
}

// serveReady answers 200, with what is in trouble all the same, or 503 with the reasons by part.
func (l *Listener) serveReady(w http.ResponseWriter, _ *http.Request) {
	answer := struct {
		Ready    bool              `json:"ready"`
		Reasons  map[string]string `json:"reasons,omitempty"`
		Degraded map[string]string `json:"degraded,omitempty"`
	}{Reasons: texts(l.health.Ready()), Degraded: texts(l.health.Degraded())}
	answer.Ready = len(answer.Reasons) == 0
	w.Header().Set("Content-Type", "application/json")
	if !answer.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		l.log.Debug("answer /ready", "err", err)
	}
}

func texts(errs map[string]error) map[string]string {
	told := make(map[string]string, len(errs))
	for part, err := range errs {
		told[part] = err.Error()
	}
	return told
}

func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// namesAddress reports whether a Host header names localhost or an IP address.
func namesAddress(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return host == "localhost" || net.ParseIP(host) != nil
}
