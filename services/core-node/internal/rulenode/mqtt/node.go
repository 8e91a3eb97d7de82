// Package mqtt publishes messages to MQTT brokers outside of the platform.
package mqtt

import (
	"context"
	"crypto/tls"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/sluice-iot/sluice/proto/ident"
	"github.com/sluice-iot/sluice/services/core-node/internal/outside"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/pattern"
)

//go:embed doc.md
var doc string

// Kind describes the node.
func Kind() rule.Kind {
	return rule.Kind{
		Class:     "org.thingsboard.rule.engine.mqtt.TbMqttNode",
		Name:      "mqtt",
		Category:  rule.External,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   2,
		Default: json.RawMessage(`{"topicPattern":"my-topic","host":null,"port":1883,"connectTimeoutSec":10,"clientId":null,"appendClientIdSuffix":false,` +
			`"retainedMessage":false,"cleanSession":true,"ssl":false,"parseToPlainText":false,"protocolVersion":"MQTT_3_1_1","credentials":{"type":"anonymous"}}`),
		Schema: json.RawMessage(`{"type":"object","required":["topicPattern"],"properties":{"topicPattern":{"type":"string"},"host":{"type":["string","null"]},` +
			`"port":{"type":"integer","minimum":1,"maximum":65535},"connectTimeoutSec":{"type":"integer","minimum":1,"maximum":200},` +
			`"clientId":{"type":["string","null"]},"appendClientIdSuffix":{"type":"boolean"},"retainedMessage":{"type":"boolean"},` +
			`"cleanSession":{"type":"boolean"},"ssl":{"type":"boolean"},"parseToPlainText":{"type":"boolean"},` +
			`"protocolVersion":{"enum":["MQTT_3_1","MQTT_3_1_1","MQTT_5"]},` +
			`"credentials":{"type":"object","properties":{"type":{"enum":["anonymous","basic","cert.PEM"]}}}}}`),
		Waits:   rule.ForOutside,
		Upgrade: upgrade,
		New:     newNode,
	}
}

func upgrade(from int, fields map[string]any, _ *rule.NodeEntry) {
	if from < 1 {
		fields["parseToPlainText"] = false
	}
	if from < 2 {
		fields["protocolVersion"] = "MQTT_3_1"
	}
}

type config struct {
	Topic       string `json:"topicPattern"`
	Host        string `json:"host"`
	Port        int    `json:"port"`
	ConnectSec  int    `json:"connectTimeoutSec"`
	ClientID    string `json:"clientId"`
	Suffix      bool   `json:"appendClientIdSuffix"`
	Retained    bool   `json:"retainedMessage"`
	Clean       bool   `json:"cleanSession"`
	SSL         bool   `json:"ssl"`
	PlainText   bool   `json:"parseToPlainText"`
	Version     string `json:"protocolVersion"`
	Credentials struct {
		Type       string `json:"type"`
		Username   string `json:"username"`
		Password   string `json:"password"`
		CACert     string `json:"caCert"`
		Cert       string `json:"cert"`
		PrivateKey string `json:"privateKey"`
	} `json:"credentials"`
}

// key is all that a connection is configured by.
type key struct {
	tenant             ident.TenantID
	address, client    string
	clean, ssl         bool
	version            uint
	username, password string
	certificates       outside.Certificates
	connect            time.Duration
}

type node struct {
	services            rule.Services
	key                 key
	topic               pattern.Pattern
	retained, plainText bool
	timeout             time.Duration
}

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	k := key{tenant: s.Tenant, client: c.ClientID, clean: c.Clean, ssl: c.SSL, connect: time.Duration(c.ConnectSec) * time.Second, version: 4}
	switch {
	case s.Outside == nil:
		return nil, fmt.Errorf("%w: nothing outside is reached from here", rule.ErrNotStartable)
	case c.Topic == "":
		return nil, errors.New("topicPattern: a topic is needed")
	case c.Host == "":
		return nil, fmt.Errorf("host: %w: a host is needed", rule.ErrNotStartable) // so it is by default
	case c.Port < 1 || c.Port > 65535:
		return nil, fmt.Errorf("port: %d is no port", c.Port)
	case c.ConnectSec < 0:
		return nil, errors.New("connectTimeoutSec: must not be negative")
	case !c.Clean && c.ClientID == "":
		return nil, errors.New("clientId: a session that is kept needs one")
	}
	switch c.Version {
	case "MQTT_3_1":
		k.version = 3
	case "", "MQTT_3_1_1":
	case "MQTT_5":
		return nil, fmt.Errorf("protocolVersion: %w: MQTT 5 is not built", rule.ErrNotStartable)
	default:
		return nil, fmt.Errorf("protocolVersion: %q is unknown", c.Version)
	}
	switch c.Credentials.Type {
	case "", "anonymous":
	case "basic":
		k.username, k.password = c.Credentials.Username, c.Credentials.Password
	case "cert.PEM":
		k.certificates = outside.Certificates{Authorities: c.Credentials.CACert, Certificate: c.Credentials.Cert, Key: c.Credentials.PrivateKey}
	default:
		return nil, fmt.Errorf("credentials.type: %q is unknown", c.Credentials.Type)
	}
	if _, err := k.certificates.TLS(); err != nil {
		return nil, fmt.Errorf("credentials.%w", err)
	}
	k.address = net.JoinHostPort(c.Host, strconv.Itoa(c.Port))
	if c.Suffix && k.client != "" {
		k.client += "_" + s.Service
	}
	limit := s.Outside.Settings().Timeout
	if k.connect == 0 || k.connect > limit {
		k.connect = limit
	}
	return &node{s, k, pattern.Compile(c.Topic), c.Retained, c.PlainText, limit}, nil
}

// connection is a shared session with a broker.
type connection struct{ paho.Client }

// quiesce is how long a session that ends waits for what is under way, ms.
const quiesce = 100

func (c connection) Close() error {
	c.Disconnect(quiesce)
	return nil
}

func (n *node) open(ctx context.Context) (connection, error) {
	ctx, cancel := context.WithTimeout(ctx, n.key.connect)
	defer cancel()
	o := paho.NewClientOptions().AddBroker("tcp://" + n.key.address).SetClientID(n.key.client).SetCleanSession(n.key.clean).
		SetProtocolVersion(n.key.version).SetUsername(n.key.username).SetPassword(n.key.password).
		SetAutoReconnect(false).SetConnectRetry(false).SetOrderMatters(false).SetConnectTimeout(n.key.connect).SetWriteTimeout(n.timeout).
		SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return n.dial(ctx) })
	c := connection{paho.NewClient(o)}
	token := c.Connect()
	select {
	case <-token.Done():
	case <-ctx.Done():
		return connection{}, errors.Join(fmt.Errorf("connect to %s: no answer within %v", n.key.address, n.key.connect), c.Close())
	}
	if err := token.Error(); err != nil {
		return connection{}, fmt.Errorf("connect to %s: %w", n.key.address, err)
	}
	return c, nil
}

// dial opens the network connection. The broker must answer within the time to connect.
func (n *node) dial(ctx context.Context) (net.Conn, error) {
	made, err := n.services.Outside.Dial(ctx, "tcp", n.key.address)
	if err != nil || !n.key.ssl {
		return made, err
	}
	config, err := n.key.certificates.TLS()
	if err != nil {
		return nil, errors.Join(err, made.Close())
	}
	config.ServerName, _, _ = net.SplitHostPort(n.key.address)
	secured := tls.Client(made, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, made.Close())
	}
	return secured, nil
}

// Process publishes the message at QoS 1 and waits for the acknowledgement.
func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	topic := n.topic.Of(in)
	if topic == "" || strings.ContainsAny(topic, "+#\x00") {
		return n.failed(in, turn, fmt.Errorf("%q is no topic to publish to", topic))
	}
	c, giveBack, err := n.connected(ctx)
	if err != nil {
		return n.failed(in, turn, err)
	}
	token := c.Publish(topic, 1, n.retained, n.body(in))
	select {
	case <-token.Done():
		err = token.Error()
	case <-ctx.Done():
		err = fmt.Errorf("no acknowledgement within %v", n.timeout)
	}
	giveBack(err != nil) // what is under way ends with the connection
	if err != nil {
		return n.failed(in, turn, fmt.Errorf("publish to %s: %w", n.key.address, err))
	}
	turn.Emit(rule.Success, in)
	return nil
}

// connected lends a session that is up; one that was lost meanwhile is opened anew.
func (n *node) connected(ctx context.Context) (connection, func(bool), error) {
	c, giveBack, err := outside.Lend(ctx, n.services.Outside, n.key, n.open)
	if err != nil || c.IsConnectionOpen() {
		return c, giveBack, err
	}
	giveBack(true)
	return outside.Lend(ctx, n.services.Outside, n.key, n.open)
}

func (n *node) body(in *rule.Message) string {
	text := in.Body.Text()
	var plain string
	if n.plainText && json.Unmarshal([]byte(text), &plain) == nil {
		return plain
	}
	return text
}

func (n *node) failed(in *rule.Message, turn *rule.Turn, err error) error {
	changed := *in
	changed.Metadata = in.Metadata.With("error", err.Error())
	turn.Fail(&changed, err)
	return nil
}
