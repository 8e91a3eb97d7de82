// Package kafka puts messages on topics of a Kafka outside of the platform.
package kafka

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

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
		Class:     "org.thingsboard.rule.engine.kafka.TbKafkaNode",
		Name:      "kafka",
		Category:  rule.External,
		Doc:       doc,
		Relations: []rule.Relation{rule.Success},
		Version:   1,
		Default: json.RawMessage(`{"topicPattern":"my-topic","keyPattern":null,"bootstrapServers":"localhost:9092","retries":0,"batchSize":16384,"linger":0,` +
			`"bufferMemory":33554432,"acks":"-1","otherProperties":{},"addMetadataKeyValuesAsKafkaHeaders":false,"kafkaHeadersCharset":"UTF-8"}`),
		Schema: json.RawMessage(`{"type":"object","required":["topicPattern","bootstrapServers"],"properties":{"topicPattern":{"type":"string"},` +
			`"keyPattern":{"type":["string","null"]},"bootstrapServers":{"type":"string"},"retries":{"type":"integer","minimum":0},` +
			`"batchSize":{"type":"integer","minimum":0},"linger":{"type":"integer","minimum":0},"bufferMemory":{"type":"integer"},` +
			`"acks":{"enum":["-1","all","0","1"]},"otherProperties":{"type":["object","null"]},` +
			`"addMetadataKeyValuesAsKafkaHeaders":{"type":"boolean"},"kafkaHeadersCharset":{"type":["string","null"]}}}`),
		Waits: rule.ForOutside,
		Upgrade: func(from int, fields map[string]any, _ *rule.NodeEntry) {
			if from < 1 {
				delete(fields, "keySerializer")
				delete(fields, "valueSerializer")
			}
		},
		New: newNode,
	}
}

type config struct {
	Topic   string         `json:"topicPattern"`
	Key     string         `json:"keyPattern"`
	Servers string         `json:"bootstrapServers"`
	Retries int            `json:"retries"`
	Linger  int            `json:"linger"`
	Acks    string         `json:"acks"`
	Other   map[string]any `json:"otherProperties"`
	Headers bool           `json:"addMetadataKeyValuesAsKafkaHeaders"`
	Charset string         `json:"kafkaHeadersCharset"`
}

// key is all that a writer is configured by.
type key struct {
	tenant          ident.TenantID
	servers         string
	acks            kafka.RequiredAcks
	retries, linger int
}

type node struct {
	services  rule.Services
	key       key
	topic, by pattern.Pattern
	keyed     bool
	headers   bool
	timeout   time.Duration
}

// mostRetries bounds what a chain can ask for.
const mostRetries = 3

func newNode(raw json.RawMessage, s rule.Services) (rule.Node, error) {
	var c config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	acks, known := map[string]kafka.RequiredAcks{"": kafka.RequireAll, "-1": kafka.RequireAll, "all": kafka.RequireAll, "0": kafka.RequireNone, "1": kafka.RequireOne}[c.Acks]
	switch {
	case s.Outside == nil:
		return nil, fmt.Errorf("%w: nothing outside is reached from here", rule.ErrNotStartable)
	case c.Topic == "":
		return nil, errors.New("topicPattern: a topic is needed")
	case strings.Trim(c.Servers, ", ") == "":
		return nil, errors.New("bootstrapServers: a server is needed")
	case !known:
		return nil, fmt.Errorf("acks: %q is none of -1, all, 0 and 1", c.Acks)
	case c.Retries < 0:
		return nil, errors.New("retries: must not be negative")
	case c.Linger < 0:
		return nil, errors.New("linger: must not be negative")
	case c.Headers && c.Charset != "" && !strings.EqualFold(c.Charset, "UTF-8"):
		return nil, fmt.Errorf("kafkaHeadersCharset: %w: only UTF-8 is built", rule.ErrNotStartable)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Other)) {
		if value := fmt.Sprint(c.Other[name]); name != "security.protocol" || value != "PLAINTEXT" {
			return nil, fmt.Errorf("otherProperties.%s: %w: it is not built", name, rule.ErrNotStartable)
		}
	}
	return &node{
		services: s, key: key{s.Tenant, c.Servers, acks, min(c.Retries, mostRetries), c.Linger},
		topic: pattern.Compile(c.Topic), by: pattern.Compile(c.Key), keyed: c.Key != "", headers: c.Headers, timeout: s.Outside.Settings().Timeout,
	}, nil
}

// writer is a shared producer.
type writer struct {
	*kafka.Writer
	transport *kafka.Transport
}

func (w *writer) Close() error {
	err := w.Writer.Close()
	w.transport.CloseIdleConnections()
	return err
}

// attempt bounds one attempt to write: a message that is given up has none under way for longer.
const attempt = 3 * time.Second

func (n *node) open(context.Context) (*writer, error) {
	transport := &kafka.Transport{Dial: n.services.Outside.Dial, DialTimeout: attempt, IdleTimeout: n.services.Outside.Settings().Idle, ClientID: "sluice"}
	var servers []string
	for server := range strings.SplitSeq(n.key.servers, ",") {
		if server = strings.TrimSpace(server); server != "" {
			servers = append(servers, server)
		}
	}
	return &writer{transport: transport, Writer: &kafka.Writer{
		Addr: kafka.TCP(servers...), Transport: transport, Balancer: kafka.Murmur2Balancer{}, RequiredAcks: n.key.acks,
		MaxAttempts: 1 + n.key.retries, BatchTimeout: max(time.Millisecond, time.Duration(n.key.linger)*time.Millisecond),
		ReadTimeout: attempt, WriteTimeout: attempt, AllowAutoTopicCreation: true, Completion: completed,
	}}, nil
}

// place is where a message was written to.
type place struct {
	partition int
	offset    int64
}

// completed tells whoever waits for a message where it is.
func completed(messages []kafka.Message, err error) {
	for _, m := range messages {
		if told, ok := m.WriterData.(chan place); ok && err == nil {
			told <- place{m.Partition, m.Offset}
		}
	}
}

// Process writes the message and waits for the acknowledgement.
func (n *node) Process(ctx context.Context, in *rule.Message, turn *rule.Turn) error {
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	w, giveBack, err := outside.Lend(ctx, n.services.Outside, n.key, n.open)
	if err != nil {
		return n.failed(in, turn, err)
	}
	told := make(chan place, 1)
	out := kafka.Message{Topic: n.topic.Of(in), Value: []byte(in.Body.Text()), WriterData: told, Headers: n.headersOf(in)}
	if n.keyed {
		out.Key = []byte(n.by.Of(in))
	}
	err = w.WriteMessages(ctx, out)
	// Whoever gives a message up has its writer closed, which waits for the attempt under way.
	giveBack(err != nil && ctx.Err() != nil)
	if err != nil {
		return n.failed(in, turn, explain(err))
	}
	changed := *in
	texts := map[string]string{"topic": out.Topic}
	select {
	case at := <-told:
		texts["partition"], texts["offset"] = strconv.Itoa(at.partition), strconv.FormatInt(at.offset, 10)
	default:
	}
	changed.Metadata = in.Metadata.WithAll(texts)
	turn.Emit(rule.Success, &changed)
	return nil
}

// explain takes the one error out of those of a batch of one.
func explain(err error) error {
	var several kafka.WriteErrors
	if errors.As(err, &several) {
		for _, one := range several {
			if one != nil {
				return one
			}
		}
	}
	return err
}

func (n *node) failed(in *rule.Message, turn *rule.Turn, err error) error {
	err = fmt.Errorf("write to Kafka: %w", err)
	changed := *in
	changed.Metadata = in.Metadata.With("error", err.Error())
	turn.Fail(&changed, err)
	return nil
}

// headersOf are the metadata, if they are wanted, and always the message's id: the same for every attempt.
func (n *node) headersOf(in *rule.Message) []kafka.Header {
	headers := []kafka.Header{{Key: "message_id", Value: fmt.Appendf(nil, "%x-%d", in.ID[:], in.Index)}}
	if !n.headers {
		return headers
	}
	all := in.Metadata.All()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		headers = append(headers, kafka.Header{Key: "tb_msg_md_" + name, Value: []byte(all[name])})
	}
	return headers
}
