// Package compose runs the fleet as operators do: `docker compose` on the files of deploy/, on a Docker engine,
// with stand-ins for the stores' public images. Its tests carry the build tag `compose`; `make test-compose` runs them.
package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Fleet is one installation, in a folder of its own. Its ports are on 127.0.0.1.
type Fleet struct {
	MQTT, MQTTS, HTTP, HTTPS, CoAP, Operators string // addresses

	folder, compose string
}

// Install copies deploy/ into folder, runs its init and appends what differs on a test machine to its .env: images
// that are there, ports that are free. compose is the program, of Docker's compose plugin.
func Install(ctx context.Context, deploy, folder, compose string) (*Fleet, error) {
	if err := os.CopyFS(filepath.Join(folder, "deploy"), os.DirFS(deploy)); err != nil {
		return nil, fmt.Errorf("copy deploy/: %w", err)
	}
	f := &Fleet{folder: filepath.Join(folder, "deploy", "compose"), compose: compose}
	if out, err := f.command(ctx, "./init").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("init: %w: %s", err, out)
	}
	env, err := os.OpenFile(filepath.Join(f.folder, ".env"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	err = f.configure(env)
	return f, errors.Join(err, env.Close())
}

func (f *Fleet) configure(env io.Writer) error {
	lines := []string{
		"SLUICE_IMAGE=sluice:test", "SLUICE_BIND=127.0.0.1",
		"SLUICE_OPEN_FILES=16384", "SLUICE_BALANCER_CONNECTIONS=8000", // what a machine without CAP_SYS_RESOURCE grants
	}
	for _, part := range []string{"haproxy", "kafka", "zookeeper", "redis", "cassandra", "prometheus"} {
		lines = append(lines, fmt.Sprintf("SLUICE_%s_IMAGE=standin-%s", strings.ToUpper(part), part))
	}
	for _, port := range []struct {
		variable, network string
		address           *string
	}{
		{"SLUICE_MQTT_PORT", "tcp", &f.MQTT},
		{"SLUICE_MQTTS_PORT", "tcp", &f.MQTTS},
		{"SLUICE_HTTP_PORT", "tcp", &f.HTTP},
		{"SLUICE_HTTPS_PORT", "tcp", &f.HTTPS},
		{"SLUICE_COAP_PORTS", "udp", &f.CoAP},
		{"SLUICE_OPERATORS_PORT", "tcp", &f.Operators},
	} {
		number, err := freePort(port.network)
		if err != nil {
			return err
		}
		*port.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(number))
		lines = append(lines, fmt.Sprintf("%s=%d", port.variable, number))
	}
	_, err := io.WriteString(env, strings.Join(lines, "\n")+"\n")
	return err
}

func freePort(network string) (int, error) {
	if network == "udp" {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		return conn.LocalAddr().(*net.UDPAddr).Port, conn.Close()
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return listener.Addr().(*net.TCPAddr).Port, listener.Close()
}

// Secret reads one of the files init wrote.
func (f *Fleet) Secret(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(f.folder, "secrets", name))
	return strings.TrimSpace(string(text)), err
}

// Certificate is the file with the certificate init made.
func (f *Fleet) Certificate() string {
	return filepath.Join(f.folder, "secrets", "certificates", "default.pem")
}

func (f *Fleet) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = f.folder
	return c
}

// Compose runs `docker compose args…` in the installation and returns what it printed.
func (f *Fleet) Compose(ctx context.Context, args ...string) (string, error) {
	c := f.command(ctx, f.compose, args...)
	var out, diagnosis bytes.Buffer
	c.Stdout, c.Stderr = &out, &diagnosis
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("docker compose %s: %w: %s", strings.Join(args, " "), err, diagnosis.Bytes())
	}
	return out.String(), nil
}

// Scale brings the fleet to these numbers of instances, and waits until all are healthy.
func (f *Fleet) Scale(ctx context.Context, coreNodes, mqttTransports, httpTransports int) error {
	_, err := f.Compose(ctx, "up", "-d", "--wait", "--quiet-pull", "--no-build",
		"--scale", "core-node="+strconv.Itoa(coreNodes),
		"--scale", "mqtt-transport="+strconv.Itoa(mqttTransports),
		"--scale", "http-transport="+strconv.Itoa(httpTransports))
	return err
}

// Container is what the engine says of one.
type Container struct {
	Name       string
	HostConfig struct {
		ReadonlyRootfs bool
		CapDrop        []string
		Memory         int64
		PidsLimit      int64
		SecurityOpt    []string
	}
	Config          struct{ User string }
	NetworkSettings struct {
		Ports map[string][]struct{ HostIP, HostPort string }
	}
}

// Containers asks the engine about every container of the fleet.
func (f *Fleet) Containers(ctx context.Context) ([]Container, error) {
	ids, err := f.Compose(ctx, "ps", "-a", "-q")
	if err != nil {
		return nil, err
	}
	text, err := f.command(ctx, "docker", append([]string{"inspect"}, strings.Fields(ids)...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("docker inspect: %w", err)
	}
	var containers []Container
	err = json.Unmarshal(text, &containers)
	return containers, err
}
