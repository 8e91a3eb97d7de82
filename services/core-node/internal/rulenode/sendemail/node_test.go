package sendemail_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/services/core-node/internal/outside"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/sendemail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// post is a mail server that keeps what it takes.
type post struct {
	host string
	port int

	mu       sync.Mutex
	mails    []string
	login    string
	refusing error
}

type session struct {
	*post
	to []string
}

func (p *post) NewSession(*smtp.Conn) (smtp.Session, error) { return &session{post: p}, nil }

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, pass string) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.login = user + ":" + pass
		return nil
	}), nil
}
func (s *session) Mail(string, *smtp.MailOptions) error { return s.refusing }
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	body, err := io.ReadAll(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, strings.Join(s.to, " ")+"\n"+string(body))
	return err
}
func (s *session) Reset()        { s.to = nil }
func (s *session) Logout() error { return nil }

func (p *post) taken() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mails
}

func serve(t *testing.T, config *tls.Config) *post {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &post{host: "127.0.0.1", port: l.Addr().(*net.TCPAddr).Port}
	server := smtp.NewServer(p)
	server.Domain, server.TLSConfig, server.AllowInsecureAuth = "post.example.org", config, true
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			t.Error(err)
		}
	})
	return p
}

func bench(t *testing.T, change func(*outside.Settings)) *rulenodetest.Bench {
	t.Helper()
	s := outside.DefaultSettings()
	s.Allow = []string{"127.0.0.0/8"}
	if change != nil {
		change(&s)
	}
	b := rulenodetest.New(t)
	b.Services.Outside = outside.New(outside.Options{Settings: s})
	return b
}

func (p *post) config(more string) string {
	return fmt.Sprintf(`{"useSystemSmtpSettings":false,"smtpHost":%q,"smtpPort":%d%s}`, p.host, p.port, more)
}

const letter = `{"from":"a@example.org","to":"b@example.org, c@example.org","cc":"d@example.org","bcc":"e@example.org","subject":"Hot","body":"It is hot","html":false}`

func TestMailsAreSent(t *testing.T) {
	p := serve(t, nil)
	b := bench(t, nil)
	n := b.Node(sendemail.Kind(), p.config(""))
	for range 2 {
		out := b.Process(n, b.Message("SEND_EMAIL", letter, nil))
		if len(out.Emitted) != 1 || out.Emitted[0].Relation != rule.Success {
			t.Fatalf("outcome %+v", out)
		}
	}
	mails := p.taken()
	if len(mails) != 2 {
		t.Fatalf("%d mails", len(mails))
	}
	for _, part := range []string{"b@example.org c@example.org d@example.org e@example.org\n", "Subject: Hot", "It is hot", "<07000000000000000000000000000000-0@sluice>"} {
		if !strings.Contains(mails[0], part) || !strings.Contains(mails[1], part) {
			t.Errorf("%q is not in %s", part, mails)
		}
	}
	if strings.Contains(mails[0], "Bcc") {
		t.Error("the mail tells who else has it")
	}
}

func TestHTMLHasItsImages(t *testing.T) {
	p := serve(t, nil)
	b := bench(t, nil)
	out := b.Process(b.Node(sendemail.Kind(), p.config("")), b.Message("SEND_EMAIL",
		`{"from":"a@example.org","to":"b@example.org","subject":"S","body":"<img src=cid:dot>","html":true,"images":{"dot":"data:image/gif;base64,R0lGODlhAQ=="}}`, nil))
	if why, failed := out.Failed(); failed {
		t.Fatal(why)
	}
	for _, part := range []string{"text/html", "image/gif", "Content-Id: <dot>", "R0lGODlhAQ=="} {
		if !strings.Contains(p.taken()[0], part) {
			t.Errorf("%q is not in %s", part, p.taken()[0])
		}
	}
}

func TestThePlatformsOwnServer(t *testing.T) {
	p := serve(t, nil)
	b := bench(t, func(s *outside.Settings) { // nothing is allowed: the operator's server is not judged
		s.Allow, s.Mail.Host, s.Mail.Port, s.Mail.TLS = nil, p.host, p.port, false
	})
	if why, failed := b.Process(b.Node(sendemail.Kind(), ""), b.Message("SEND_EMAIL", letter, nil)).Failed(); failed || len(p.taken()) != 1 {
		t.Errorf("failed %v: %s", failed, why)
	}
	if _, err := bench(t, nil).New(sendemail.Kind(), ""); !errors.Is(err, rule.ErrNotStartable) || !strings.Contains(err.Error(), "mail-host") {
		t.Errorf("without a server: %v", err)
	}
}

// weak is a configuration of TLS that speaks nothing better than 1.1.
func weak(t *testing.T, most uint16) *tls.Config {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	t.Cleanup(server.Close)
	return &tls.Config{Certificates: server.TLS.Certificates, MinVersion: tls.VersionTLS10, MaxVersion: most}
}

func TestWhatGoesWrongFailsTheMessage(t *testing.T) {
	plain, old, unknown := serve(t, nil), serve(t, weak(t, tls.VersionTLS11)), serve(t, weak(t, tls.VersionTLS13))
	refusing := serve(t, nil)
	refusing.refusing = &smtp.SMTPError{Code: 550, Message: "not you"}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	mute := &post{host: "127.0.0.1", port: silent.Addr().(*net.TCPAddr).Port}
	for name, is := range map[string]struct{ config, kind, data, says string }{
		"another type":                   {plain.config(""), "POST_TELEMETRY_REQUEST", letter, "POST_TELEMETRY_REQUEST"},
		"no mail":                        {plain.config(""), "SEND_EMAIL", `[]`, "read the mail"},
		"no receiver":                    {plain.config(""), "SEND_EMAIL", `{"from":"a@example.org"}`, "to"},
		"a sender that is none":          {plain.config(""), "SEND_EMAIL", `{"from":"x","to":"b@example.org"}`, "from"},
		"a receiver that is two lines":   {plain.config(""), "SEND_EMAIL", `{"from":"a@example.org","to":"b@example.org\r\nDATA"}`, "to"},
		"an image that adds a header":    {plain.config(""), "SEND_EMAIL", `{"from":"a@example.org","to":"b@example.org","html":true,"images":{"i\r\nBcc: x":""}}`, "content id"},
		"an image that is none":          {plain.config(""), "SEND_EMAIL", `{"from":"a@example.org","to":"b@example.org","html":true,"images":{"i":"data:image/png;base64,?"}}`, "images.i"},
		"no TLS where it is insisted on": {plain.config(`,"enableTls":true`), "SEND_EMAIL", letter, "STARTTLS"},
		"weak TLS":                       {old.config(`,"enableTls":true`), "SEND_EMAIL", letter, "protocol version"},
		"a certificate of nobody":        {unknown.config(`,"enableTls":true`), "SEND_EMAIL", letter, "certificate"},
		"a password in the clear":        {plain.config(`,"username":"u","password":"p"`), "SEND_EMAIL", letter, "auth"},
		"a server that refuses":          {refusing.config(""), "SEND_EMAIL", letter, "not you"},
		"a server that says nothing":     {mute.config(`,"timeout":100`), "SEND_EMAIL", letter, "send the mail"},
		"a server inside":                {`{"useSystemSmtpSettings":false,"smtpHost":"10.0.0.1","smtpPort":25}`, "SEND_EMAIL", letter, "not public"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bench(t, nil)
			began := time.Now()
			out := b.Process(b.Node(sendemail.Kind(), is.config), b.Message(is.kind, is.data, nil))
			why, failed := out.Failed()
			if !failed || !strings.Contains(strings.ToLower(why), strings.ToLower(is.says)) || out.Away != "" {
				t.Errorf("failed %v: %q, want %q", failed, why, is.says)
			}
			if time.Since(began) > 5*time.Second {
				t.Errorf("it took %v", time.Since(began))
			}
		})
	}
	for _, p := range []*post{plain, old, unknown, refusing} {
		if len(p.taken()) != 0 || p.login != "" {
			t.Errorf("taken %v, login %q", p.taken(), p.login)
		}
	}
}

func TestBadConfigurationsNameTheField(t *testing.T) {
	for field, config := range map[string]string{
		"smtpHost": `{}`, "smtpPort": `{"smtpHost":"h","smtpPort":0}`, "smtpProtocol": `{"smtpHost":"h","smtpPort":1,"smtpProtocol":"pop"}`,
		"timeout": `{"smtpHost":"h","smtpPort":1,"timeout":-1}`, "tlsVersion": `{"smtpHost":"h","smtpPort":1,"enableTls":true,"tlsVersion":"TLSv1"}`,
		"enableProxy": `{"smtpHost":"h","smtpPort":1,"enableProxy":true}`,
	} {
		if _, err := bench(t, nil).New(sendemail.Kind(), config); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}
