//go:build fleet

package mqtt_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/sluice-iot/sluice/services/core-node/internal/rulenode/mqtt"
)

// mosquitto starts Debian's broker with one user, and returns its port.
func mosquitto(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	passwords, config := filepath.Join(t.TempDir(), "passwords"), filepath.Join(t.TempDir(), "mosquitto.conf")
	if out, err := exec.CommandContext(t.Context(), "mosquitto_passwd", "-b", "-c", passwords, "u", "p").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous false\npassword_file %s\nuser root\n", port, passwords)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, "mosquitto", "-c", config)
	if err := server.Start(); err != nil {
		stop()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := server.Wait(); err == nil {
			t.Error("mosquitto ended by itself")
		}
	})
	for range 100 {
		if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			c.Close()
			return port
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("mosquitto does not listen")
	return 0
}

func TestMosquittoTakesMessages(t *testing.T) {
	port := mosquitto(t)
	got := make(chan string, 1)
	subscriber := paho.NewClient(paho.NewClientOptions().AddBroker(fmt.Sprintf("tcp://127.0.0.1:%d", port)).SetUsername("u").SetPassword("p").SetAutoReconnect(false))
	for _, token := range []func() paho.Token{subscriber.Connect, func() paho.Token {
		return subscriber.Subscribe("t/#", 1, func(_ paho.Client, m paho.Message) { got <- m.Topic() + " " + string(m.Payload()) })
	}} {
		if done := token(); !done.WaitTimeout(5*time.Second) || done.Error() != nil {
			t.Fatal(done.Error())
		}
	}
	defer subscriber.Disconnect(100)
	b := bench(t, "127.0.0.0/8")
	p := peer{host: "127.0.0.1", port: port}
	n := b.Node(mqtt.Kind(), p.config(`,"credentials":{"type":"basic","username":"u","password":"p"}`))
	if why, failed := b.Process(n, b.Message("T", `{"a":1}`, map[string]string{"name": "d"})).Failed(); failed {
		t.Fatal(why)
	}
	select {
	case text := <-got:
		if text != `t/d {"a":1}` {
			t.Errorf("mosquitto passes on %q", text)
		}
	case <-time.After(5 * time.Second):
		t.Error("mosquitto passes nothing on")
	}
	wrong := b.Node(mqtt.Kind(), p.config(`,"credentials":{"type":"basic","username":"u","password":"x"}`))
	if _, failed := b.Process(wrong, b.Message("T", `{}`, map[string]string{"name": "d"})).Failed(); !failed {
		t.Error("a wrong password is taken")
	}
}
