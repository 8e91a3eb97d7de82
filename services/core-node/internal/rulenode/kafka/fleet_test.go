//go:build fleet

package kafka_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	client "github.com/segmentio/kafka-go"
)

// TestKafkaTakesMessages writes to the real Kafka that SLUICE_TEST_KAFKA names.
func TestKafkaTakesMessages(t *testing.T) {
	address, _, _ := strings.Cut(os.Getenv("SLUICE_TEST_KAFKA"), ",")
	topic := fmt.Sprintf("readings-%d", time.Now().UnixNano())
	create(t, address, topic)
	awaitLeaders(t, address, topic)
	messagesAreWritten(t, address, topic)
}

// awaitLeaders waits until a new topic's brokers know that they lead it.
func awaitLeaders(t *testing.T, address, topic string) {
	t.Helper()
	transport := &client.Transport{}
	defer transport.CloseIdleConnections()
	c := &client.Client{Addr: client.TCP(address), Transport: transport}
	request := map[string][]client.OffsetRequest{topic: {client.LastOffsetOf(0), client.LastOffsetOf(1), client.LastOffsetOf(2)}}
	led := func() bool {
		answer, err := c.ListOffsets(t.Context(), &client.ListOffsetsRequest{Topics: request})
		if err != nil {
			return false
		}
		for _, p := range answer.Topics[topic] {
			if p.Error != nil {
				return false
			}
		}
		return len(answer.Topics[topic]) == len(request[topic])
	}
	for began := time.Now(); !led(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatal("nobody leads the topic")
		}
	}
}
