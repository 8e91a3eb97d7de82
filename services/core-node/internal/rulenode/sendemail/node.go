// Package sendemail sends e-mails.
package sendemail

import (
	"context"
	"crypto/tls"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/sluice-iot/sluice/services/core-node/internal/outside"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
)

//go:embed doc.md
var doc string

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.mail.TbSendEmailNode",
		Name:      "send email",
		Category:  rule.External,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Default: json.RawMessage(`{"useSystemSmtpSettings":true,"smtpHost":"localhost","smtpPort":25,"username":null,"password":null,"smtpProtocol":"smtp",` +
			`"timeout":10000,"enableTls":false,"tlsVersion":"TLSv1.2","enableProxy":false,"proxyHost":null,"proxyPort":null,"proxyUser":null,"proxyPassword":null}`),
		Schema: json.RawMessage(`{"type":"object","properties":{"useSystemSmtpSettings":{"type":"boolean"},"smtpHost":{"type":["string","null"]},` +
			`"smtpPort":{"type":["integer","null"],"minimum":1,"maximum":65535},"username":{"type":["string","null"]},"password":{"type":["string","null"]},` +
			`"smtpProtocol":{"enum":["smtp","smtps",null]},"timeout":{"type":"integer","minimum":0},"enableTls":{"type":"boolean"},` +
			`"tlsVersion":{"type":["string","null"]},"enableProxy":{"type":"boolean"},"proxyHost":{"type":["string","null"]},` +
			`"proxyPort":{"type":["string","integer","null"]},"proxyUser":{"type":["string","null"]},"proxyPassword":{"type":["string","null"]}}}`),
		Waits: rule.ForOutside,
		New:   newNode,
	}
}

type config struct {
	System     bool   `json:"useSystemSmtpSettings"`
	Host       string `json:"smtpHost"`
	Port       int    `json:"smtpPort"`
	Username   string `json:"username"`
	Password   string `json:"password"`
	Protocol   string `json:"smtpProtocol"`
	TimeoutMS  int    `json:"timeout"`
	TLS        bool   `json:"enableTls"`
	TLSVersion string `json:"tlsVersion"`
	Proxy      bool   `json:"enableProxy"`
}

type node struct {
	config
	dial    mail.DialContextFunc
	timeout time.Duration
	version uint16
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	if s.Outside == nil {
		return nil, fmt.Errorf("%w: nothing outside is reached from here", rule.ErrNotStartable)
	}
	n := &node{config: c, dial: s.Outside.Dial, timeout: s.Outside.Settings().Timeout, version: tls.VersionTLS12}
	if c.System {
		return n.system(s.Outside)
	}
	switch {
	case c.Host == "":
		return nil, errors.New("smtpHost: a host is needed")
	case c.Port < 1 || c.Port > 65535:
		return nil, fmt.Errorf("smtpPort: %d is no port", c.Port)
	case c.Protocol != "" && c.Protocol != "smtp" && c.Protocol != "smtps":
		return nil, fmt.Errorf("smtpProtocol: %q is neither smtp nor smtps", c.Protocol)
	case c.TimeoutMS < 0:
		return nil, errors.New("timeout: must not be negative")
	case c.Proxy:
		return nil, fmt.Errorf("enableProxy: %w: proxies are not built", rule.ErrNotStartable)
	}
	if c.TimeoutMS > 0 {
		n.timeout = min(n.timeout, time.Duration(c.TimeoutMS)*time.Millisecond)
	}
	switch c.TLSVersion {
	case "", "TLSv1.2":
	case "TLSv1.3":
		n.version = tls.VersionTLS13
	default:
		if c.TLS {
			return nil, fmt.Errorf("tlsVersion: %w: %q is too weak, TLSv1.2 is the least", rule.ErrNotStartable, c.TLSVersion)
		}
	}
	return n, nil
}

// system has the node send through the platform's own server, which the operator named: it is not judged.
func (n *node) system(o *outside.Outside) (rule.Node, error) {
	own := o.Settings().Mail
	if own.Host == "" {
		return nil, fmt.Errorf("useSystemSmtpSettings: %w: the platform has no mail server (--mail-host)", rule.ErrNotStartable)
	}
	n.Host, n.Port, n.Username, n.Password, n.TLS, n.Protocol = own.Host, own.Port, own.User, own.Password, own.TLS, "smtp"
	n.dial = o.DialOwn
	return n, nil
}

// sent is the body of a message of type SEND_EMAIL.
type sent struct {
	From, To, Cc, Bcc, Subject, Body string
	Images                           map[string]string
	HTML                             bool
}

// Process sends one mail over a connection of its own.
func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	if in.Type != rule.SendEmail {
		return fmt.Errorf("unexpected message type %s: %s is sent, which a \"to email\" node makes", in.Type, rule.SendEmail)
	}
	var what sent
	if err := json.Unmarshal([]byte(in.Body.Text()), &what); err != nil {
		return fmt.Errorf("read the mail: %w", err)
	}
	m, err := compose(what)
	if err != nil {
		return err
	}
	// The same for every attempt, so that a repetition can be told.
	m.SetMessageIDWithValue(fmt.Sprintf("%x-%d@sluice", in.ID[:], in.Index))
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	client, err := n.client()
	if err != nil {
		return fmt.Errorf("send the mail: %w", err)
	}
	if err := client.DialAndSendWithContext(ctx, m); err != nil {
		return fmt.Errorf("send the mail: %w", err)
	}
	turn.Emit(rule.Success, in)
	return nil
}

func (n *node) client() (*mail.Client, error) {
	policy := mail.TLSOpportunistic
	if n.TLS {
		policy = mail.TLSMandatory
	}
	options := []mail.Option{
		mail.WithPort(n.Port), mail.WithTimeout(n.timeout), mail.WithDialContextFunc(n.connect), mail.WithTLSPolicy(policy),
		mail.WithTLSConfig(n.encryption()), mail.WithoutNoop(),
	}
	if n.Username != "" {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(n.Username), mail.WithPassword(n.Password))
	}
	return mail.NewClient(n.Host, options...)
}

func (n *node) encryption() *tls.Config {
	return &tls.Config{ServerName: n.Host, MinVersion: n.version}
}

// connect opens the connection; that of smtps speaks TLS from its first byte.
func (n *node) connect(ctx context.Context, network, address string) (net.Conn, error) {
	connection, err := n.dial(ctx, network, address)
	if err != nil || n.Protocol != "smtps" {
		return connection, err
	}
	secured := tls.Client(connection, n.encryption())
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, connection.Close())
	}
	return secured, nil
}
