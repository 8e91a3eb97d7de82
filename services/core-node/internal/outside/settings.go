package outside

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Settings are what operators set of what leaves the platform.
type Settings struct {
	Guard       bool          `name:"outside-guard" help:"Refuse rule nodes every address that is not public: this machine, private networks, clouds' metadata." default:"true"`
	Allow       []string      `name:"outside-allow" help:"What rule nodes may reach though it is not public: networks (10.1.0.0/16), or names as chains have them (host:port)." sep:","`
	Timeout     time.Duration `name:"outside-timeout" help:"Longest time one request of a rule node may take, connecting included." default:"20s"`
	DialTimeout time.Duration `name:"outside-dial-timeout" help:"Longest time to connect." default:"5s"`
	Response    int           `name:"outside-response" help:"Largest response of an HTTP server, bytes; chains can only ask for less." default:"4194304"`
	PerHost     int           `name:"outside-connections" help:"Most HTTP connections to one host, of nodes configured alike." default:"64"`
	Clients     int           `name:"outside-clients" help:"Most clients of outside systems kept open: one for each way nodes are configured." default:"256"`
	Idle        time.Duration `name:"outside-idle" help:"A client or connection nobody used for this long is closed." default:"1m"`

	Mail Mail `embed:""`
}

// Mail is the platform's own mail server, for nodes that name none.
type Mail struct {
	Host     string `name:"mail-host" help:"Mail server of the platform; without it, nodes that use it fail."`
	Port     int    `name:"mail-port" help:"Its port." default:"587"`
	User     string `name:"mail-user" help:"Who to log in as; empty for nobody."`
	Password string `name:"mail-password" help:"Password of that user."`
	TLS      bool   `name:"mail-tls" help:"Insist on TLS 1.2 or later with it." default:"true"`
}

// DefaultSettings are the settings nobody changed, for tests.
func DefaultSettings() Settings {
	return Settings{
		Guard: true, Timeout: 20 * time.Second, DialTimeout: 5 * time.Second, Response: 4 << 20, PerHost: 64, Clients: 256, Idle: time.Minute,
		Mail: Mail{Port: 587, TLS: true},
	}
}

// Validate names the setting that is wrong.
func (s Settings) Validate() error {
	for name, value := range map[string]int64{
		"outside-timeout": int64(s.Timeout), "outside-dial-timeout": int64(s.DialTimeout), "outside-response": int64(s.Response),
		"outside-connections": int64(s.PerHost), "outside-clients": int64(s.Clients), "outside-idle": int64(s.Idle),
	} {
		if value <= 0 {
			return fmt.Errorf("--%s: %d is not positive", name, value)
		}
	}
	_, err := readAllowed(s.Allow)
	return err
}

// allowed is what may be reached though it is not public.
type allowed struct {
	networks []netip.Prefix
	names    map[string]bool // host:port, lower case
}

func readAllowed(texts []string) (allowed, error) {
	a := allowed{names: map[string]bool{}}
	for _, text := range texts {
		text = strings.TrimSpace(text)
		switch {
		case text == "":
		case strings.Contains(text, "/"):
			network, err := netip.ParsePrefix(text)
			if err != nil {
				return allowed{}, fmt.Errorf("--outside-allow: %q is no network: %w", text, err)
			}
			a.networks = append(a.networks, network.Masked())
		case strings.LastIndexByte(text, ':') <= 0:
			return allowed{}, fmt.Errorf("--outside-allow: %q is neither a network nor host:port", text)
		default:
			a.names[strings.ToLower(text)] = true
		}
	}
	return a, nil
}
