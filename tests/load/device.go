package load

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Device is one connected MQTT device that sends what it is told. It is for one goroutine.
type Device struct {
	client *mqttClient
	topic  string
}

// Connect connects the device that token belongs to. Close it.
func Connect(ctx context.Context, address, token string) (*Device, error) {
	o := Options{Address: address, Clients: 1, Duration: time.Hour, Token: func(int) string { return token }}
	if err := o.check(); err != nil {
		return nil, err
	}
	c := newMQTTClient(&o, 0)
	if err := c.open(ctx); err != nil {
		c.close()
		return nil, err
	}
	return &Device{client: c, topic: o.Topic}, nil
}

// Publish sends one reading with QoS 1 and waits for its acknowledgement.
func (d *Device) Publish(payload []byte) error {
	c := d.client
	c.setPayload(d.topic, payload)
	if err := c.conn.SetDeadline(time.Now().Add(grace)); err != nil {
		return err
	}
	if _, err := c.fill(&budget{}); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if _, err := io.ReadFull(c.conn, c.in[:mqttPubackSize]); err != nil {
		return fmt.Errorf("wait for PUBACK: %w", err)
	}
	return c.acknowledge(c.in[:mqttPubackSize])
}

// Close ends the connection.
func (d *Device) Close() { d.client.close() }
