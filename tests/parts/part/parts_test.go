//go:build fleet

package part

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// TestEachPartComesBack starts every part, kills it and starts it again on the same addresses, then stops it.
func TestEachPartComesBack(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(ctx context.Context, dir string) (Part, error)
	}{
		{"redis", func(ctx context.Context, dir string) (Part, error) { return NewRedis(ctx, dir) }},
		{"redis-sentinel", func(ctx context.Context, dir string) (Part, error) { return NewRedisSentinel(ctx, dir) }},
		{"redis-cluster", func(ctx context.Context, dir string) (Part, error) { return NewRedisCluster(ctx, dir) }},
		{"mosquitto", func(ctx context.Context, dir string) (Part, error) { return NewMosquitto(ctx, dir) }},
		{"zookeeper", func(ctx context.Context, dir string) (Part, error) { return NewZooKeeper(ctx, dir) }},
		{"s3", func(ctx context.Context, dir string) (Part, error) { return NewS3(ctx, dir) }},
		{"haproxy", func(ctx context.Context, dir string) (Part, error) { return NewHAProxy(ctx, dir, Balanced{}) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := c.make(t.Context(), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			started(t, p)
			address := p.Address()
			for _, process := range p.Processes() {
				process.Kill()
			}
			started(t, p)
			if p.Address() != address || p.Name() != c.name {
				t.Errorf("%s on %s came back as %s on %s", c.name, address, p.Name(), p.Address())
			}
			if err := p.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func started(t *testing.T, p Part) {
	t.Helper()
	began := time.Now()
	t.Cleanup(func() {
		for _, process := range p.Processes() {
			process.Kill()
			if t.Failed() {
				t.Logf("%s printed at last:\n%s", process.Name, process.lastLines(20))
			}
		}
	})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s is ready after %s", p.Name(), time.Since(began).Round(time.Millisecond))
}

// TestThreeBrokersKeepWhatTheyAcknowledged kills the leader of a partition: the others go on, and have what it acknowledged.
func TestThreeBrokersKeepWhatTheyAcknowledged(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	k, err := NewKafka(ctx, t.TempDir(), KafkaOptions{Brokers: 3, Heap: "320m"})
	if err != nil {
		t.Fatal(err)
	}
	started(t, k)
	client := &kafka.Client{Addr: kafka.TCP(k.addresses...), Timeout: 20 * time.Second}
	const topic = "kept"
	made, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: 1, ReplicationFactor: 3}}})
	if err != nil || made.Errors[topic] != nil {
		t.Fatal(err, made.Errors)
	}
	const records = 20
	produce := func(n int) func() error {
		return func() error {
			answer, err := client.Produce(ctx, &kafka.ProduceRequest{
				Topic: topic, RequiredAcks: kafka.RequireAll,
				Records: kafka.NewRecordReader(kafka.Record{Value: kafka.NewBytes([]byte(strconv.Itoa(n)))}),
			})
			if err != nil {
				return err
			}
			return answer.Error
		}
	}
	for n := range records {
		await(ctx, t, produce(n))
	}
	k.Brokers[leader(ctx, t, client, topic)].Kill()
	await(ctx, t, produce(records)) // the others go on
	await(ctx, t, func() error {
		answer, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: {kafka.LastOffsetOf(0)}}})
		if err != nil {
			return err
		}
		if p := answer.Topics[topic][0]; p.Error != nil || p.LastOffset <= records {
			return fmt.Errorf("%d records, %w", p.LastOffset, p.Error)
		}
		return nil
	})
}

// leader is the index of the broker that leads partition 0.
func leader(ctx context.Context, t *testing.T, client *kafka.Client, topic string) int {
	t.Helper()
	answer, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Topics[0].Partitions[0].Leader.ID - 1
}

func await(ctx context.Context, t *testing.T, act func() error) {
	t.Helper()
	err := act()
	for ; err != nil && ctx.Err() == nil; err = act() {
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestBalancerSendsOnlyToWhatIsReady has two places in a list, of which one serves.
func TestBalancerSendsOnlyToWhatIsReady(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = conn.Read(make([]byte, 4096)) // whatever is asked
				_, _ = conn.Write([]byte("HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\nit is me"))
			}()
		}
	}()
	nobody, err := FreeAddress("tcp")
	if err != nil {
		t.Fatal(err)
	}
	here := Server{Address: listener.Addr().String(), Admin: listener.Addr().String()}
	servers := []Server{{Address: nobody, Admin: nobody}, here}
	h, err := NewHAProxy(t.Context(), t.TempDir(), Balanced{Core: servers, HTTP: servers, MQTT: servers, MQTTTLS: servers, MQTTWebSocket: servers})
	if err != nil {
		t.Fatal(err)
	}
	started(t, h)
	request := []byte("GET /api/anything HTTP/1.0\r\n\r\n")
	for _, address := range []string{h.HTTP, h.MQTT, h.MQTTTLS} {
		await(t.Context(), t, func() error { return ask(t.Context(), address, request, "it is me") })
		for range 20 {
			if err := ask(t.Context(), address, request, "it is me"); err != nil {
				t.Fatal(err)
			}
		}
	}
}
