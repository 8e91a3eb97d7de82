//go:build fleet && linux

package bustest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/bus/internal/wire"
)

// startPatience is how long a broker may take to start: seconds, unless others use the machine.
const startPatience = 3 * time.Minute

// RealBrokers returns the brokers of the real Kafka that SLUICE_TEST_KAFKA names. They are shared: use names, or a
// topic prefix, of your own.
func RealBrokers(t testing.TB) []string {
	t.Helper()
	addresses := os.Getenv("SLUICE_TEST_KAFKA")
	if addresses == "" {
		t.Fatal("SLUICE_TEST_KAFKA=host:port[,host:port] must name a real Kafka")
	}
	return strings.Split(addresses, ",")
}

// Kafka is a real cluster of a test's own, to be killed, stopped and started again broker by broker. Each
// broker is a controller, too. It ends with the test.
type Kafka struct {
	// Addresses are the brokers', in order.
	Addresses []string

	t       testing.TB
	dir     string
	jars    string
	control []string
	procs   []*exec.Cmd
}

// StartKafka starts brokers from the jars in the folder that SLUICE_TEST_KAFKA_LIB names; settings are lines of
// server.properties.
func StartKafka(t testing.TB, brokers int, settings ...string) *Kafka {
	t.Helper()
	lib := os.Getenv("SLUICE_TEST_KAFKA_LIB")
	if lib == "" {
		t.Fatal("SLUICE_TEST_KAFKA_LIB must name the folder with Kafka's jars")
	}
	k := &Kafka{t: t, dir: t.TempDir(), jars: filepath.Join(lib, "*"), procs: make([]*exec.Cmd, brokers)}
	for range brokers {
		k.Addresses = append(k.Addresses, freeAddress(t))
		k.control = append(k.control, freeAddress(t))
	}
	t.Cleanup(func() {
		for i := range k.procs {
			k.Kill(i)
		}
	})
	for i := range brokers {
		k.format(i, settings)
		k.launch(i)
	}
	for i := range brokers {
		k.await(i)
	}
	return k
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (k *Kafka) file(broker int, name string) string {
	return filepath.Join(k.dir, fmt.Sprint(broker), name)
}

// format writes a broker's settings and makes its data folder.
func (k *Kafka) format(broker int, settings []string) {
	k.t.Helper()
	voters := make([]string, len(k.control))
	for i, address := range k.control {
		voters[i] = fmt.Sprintf("%d@%s", i+1, address)
	}
	copies := len(k.Addresses)
	lines := append([]string{
		"process.roles=broker,controller",
		fmt.Sprint("node.id=", broker+1),
		"controller.quorum.voters=" + strings.Join(voters, ","),
		"listeners=PLAINTEXT://" + k.Addresses[broker] + ",CONTROLLER://" + k.control[broker],
		"advertised.listeners=PLAINTEXT://" + k.Addresses[broker],
		"controller.listener.names=CONTROLLER",
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"log.dirs=" + k.file(broker, "data"),
		fmt.Sprint("offsets.topic.replication.factor=", copies),
		"offsets.topic.num.partitions=4",
		"log.cleaner.dedupe.buffer.size=8388608",
		"broker.session.timeout.ms=3000",
		"broker.heartbeat.interval.ms=500",
	}, settings...)
	if err := os.MkdirAll(k.file(broker, ""), 0o750); err != nil {
		k.t.Fatal(err)
	}
	properties := k.file(broker, "server.properties")
	if err := os.WriteFile(properties, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		k.t.Fatal(err)
	}
	const cluster = "AAAAAAAAAAAAAAAAAAAAAA"
	command := exec.CommandContext(k.t.Context(), "java", "-cp", k.jars, "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format", "-t", cluster, "-c", properties)
	if out, err := command.CombinedOutput(); err != nil {
		k.t.Fatalf("format broker %d: %v\n%s", broker, err, out)
	}
}

func (k *Kafka) launch(broker int) {
	k.t.Helper()
	out, err := os.OpenFile(k.file(broker, "out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		k.t.Fatal(err)
	}
	defer out.Close()
	command := exec.Command("java", "-cp", k.jars, "-Xmx384m", "-XX:+UseSerialGC", "kafka.Kafka", k.file(broker, "server.properties"))
	command.Stdout, command.Stderr = out, out
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a test that panics cleans nothing up
	if err := command.Start(); err != nil {
		k.t.Fatal(err)
	}
	k.procs[broker] = command
}

// await waits until a broker answers.
func (k *Kafka) await(broker int) {
	k.t.Helper()
	d := &wire.Dialer{Brokers: []string{k.Addresses[broker]}, ClientID: "bustest", Timeout: time.Second}
	ctx, cancel := context.WithTimeout(k.t.Context(), startPatience)
	defer cancel()
	for {
		c, err := d.Any(ctx)
		if err == nil {
			if err := c.Close(); err != nil {
				k.t.Error(err)
			}
			return
		}
		if ctx.Err() != nil {
			out, _ := os.ReadFile(k.file(broker, "out"))
			k.t.Fatalf("broker %d does not answer: %v\n%s", broker, err, out)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Start starts a broker that was killed, on the data it left.
func (k *Kafka) Start(broker int) {
	k.t.Helper()
	k.launch(broker)
	k.await(broker)
}

// Kill ends a broker without warning (SIGKILL); one that is not running is left alone.
func (k *Kafka) Kill(broker int) {
	k.t.Helper()
	p := k.procs[broker]
	if p == nil {
		return
	}
	k.procs[broker] = nil
	if err := p.Process.Kill(); err != nil {
		k.t.Error(err)
	}
	var ended *exec.ExitError
	if err := p.Wait(); err != nil && !errors.As(err, &ended) {
		k.t.Error(err)
	}
}

// Stop halts a broker (SIGSTOP): its connections stay open and silent. Continue ends that.
func (k *Kafka) Stop(broker int) { k.signal(broker, syscall.SIGSTOP) }

// Continue lets a stopped broker go on.
func (k *Kafka) Continue(broker int) { k.signal(broker, syscall.SIGCONT) }

func (k *Kafka) signal(broker int, s os.Signal) {
	k.t.Helper()
	if err := k.procs[broker].Process.Signal(s); err != nil {
		k.t.Fatal(err)
	}
}
