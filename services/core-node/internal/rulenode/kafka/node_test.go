package kafka_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	client "github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"github.com/sluice-iot/sluice/bus/broker"
	"github.com/sluice-iot/sluice/services/core-node/internal/outside"
	"github.com/sluice-iot/sluice/services/core-node/internal/rule"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/kafka"
	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/rulenodetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func bench(t *testing.T, allow ...string) *rulenodetest.Bench {
	t.Helper()
	s := outside.DefaultSettings()
	s.Allow = allow
	s.Timeout = 3 * time.Second
	b := rulenodetest.New(t)
	b.Services.Outside = outside.New(outside.Options{Settings: s})
	t.Cleanup(func() {
		if err := b.Services.Outside.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// serve starts a broker with a topic of three partitions.
func serve(t *testing.T) string {
	t.Helper()
	b, err := broker.Start(broker.DefaultConfig(), broker.Options{Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	create(t, b.Addr(), "readings")
	return b.Addr()
}

// create makes a topic of three partitions.
func create(t *testing.T, address, topic string) {
	t.Helper()
	transport := &client.Transport{}
	defer transport.CloseIdleConnections()
	made, err := (&client.Client{Addr: client.TCP(address), Transport: transport}).CreateTopics(t.Context(), &client.CreateTopicsRequest{
		Topics: []client.TopicConfig{{Topic: topic, NumPartitions: 3, ReplicationFactor: 1}},
	})
	if err != nil || made.Errors[topic] != nil {
		t.Fatal(err, made)
	}
}

// read returns the first record of a partition.
func read(t *testing.T, address, topic, partition string) client.Message {
	t.Helper()
	var number int
	if _, err := fmt.Sscan(partition, &number); err != nil {
		t.Fatal(err)
	}
	reader := client.NewReader(client.ReaderConfig{Brokers: []string{address}, Topic: topic, Partition: number, MaxWait: 100 * time.Millisecond})
	defer reader.Close()
	m, err := reader.ReadMessage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMessagesAreWritten(t *testing.T) { messagesAreWritten(t, serve(t), "readings") }

// messagesAreWritten has three messages written to a topic that is empty.
func messagesAreWritten(t *testing.T, address, topic string) {
	t.Helper()
	b := bench(t, "127.0.0.0/8")
	n := b.Node(kafka.Kind(), fmt.Sprintf(`{"topicPattern":"${topic}","keyPattern":"$[id]","bootstrapServers":%q,"acks":"all","addMetadataKeyValuesAsKafkaHeaders":true}`, address))
	var partition string
	for i := range 3 {
		out := b.Process(n, b.Message("T", `{"id":"d1"}`, map[string]string{"topic": topic}))
		if why, failed := out.Failed(); failed {
			t.Fatal(why)
		}
		e := out.Emitted[0]
		if e.Relation != rule.Success || e.Metadata["topic"] != topic || e.Metadata["offset"] != fmt.Sprint(i) || e.Data != `{"id":"d1"}` {
			t.Errorf("outcome %+v", out)
		}
		partition = e.Metadata["partition"] // offsets that count up are of one partition
	}
	m := read(t, address, topic, partition)
	if string(m.Key) != "d1" || string(m.Value) != `{"id":"d1"}` || len(m.Headers) != 2 || m.Headers[0].Key != "message_id" ||
		m.Headers[1].Key != "tb_msg_md_topic" || string(m.Headers[1].Value) != topic {
		t.Errorf("record %s %s %v", m.Key, m.Value, m.Headers)
	}
}

func TestWhatGoesWrongFailsTheMessage(t *testing.T) {
	address := serve(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for name, is := range map[string]struct{ allow, servers, topic string }{
		"a server inside":            {"10.0.0.0/8", address, "readings"},
		"nobody there":               {"127.0.0.0/8", gone.Addr().String(), "readings"},
		"a server that says nothing": {"127.0.0.0/8", silent.Addr().String(), "readings"},
		"a topic that cannot be":     {"127.0.0.0/8", address, "no topic?"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bench(t, is.allow)
			n := b.Node(kafka.Kind(), fmt.Sprintf(`{"topicPattern":%q,"bootstrapServers":%q}`, is.topic, is.servers))
			began := time.Now()
			out := b.Process(n, b.Message("T", `{}`, nil))
			if why, failed := out.Failed(); !failed || out.Away != "" || out.Emitted[0].Metadata["error"] != why {
				t.Errorf("outcome %+v", out)
			}
			if took := time.Since(began); took > 8*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestBadConfigurationsNameTheField(t *testing.T) {
	for field, config := range map[string]string{
		"topicPattern": `{"bootstrapServers":"h:1"}`, "bootstrapServers": `{"topicPattern":"t","bootstrapServers":" ,"}`,
		"acks": `{"topicPattern":"t","bootstrapServers":"h:1","acks":"2"}`, "retries": `{"topicPattern":"t","bootstrapServers":"h:1","retries":-1}`,
		"linger":                         `{"topicPattern":"t","bootstrapServers":"h:1","linger":-1}`,
		"otherProperties.sasl.mechanism": `{"topicPattern":"t","bootstrapServers":"h:1","otherProperties":{"security.protocol":"PLAINTEXT","sasl.mechanism":"PLAIN"}}`,
		"kafkaHeadersCharset":            `{"topicPattern":"t","bootstrapServers":"h:1","addMetadataKeyValuesAsKafkaHeaders":true,"kafkaHeadersCharset":"UTF-16"}`,
	} {
		if _, err := bench(t).New(kafka.Kind(), config); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestUpgrade(t *testing.T) {
	got, _ := rulenodetest.Upgrade(t, kafka.Kind(), 0, `{"topicPattern":"t","keySerializer":"a","valueSerializer":"b"}`)
	if got != `{"topicPattern":"t"}` {
		t.Errorf("upgraded to %s", got)
	}
}
