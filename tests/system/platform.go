// Package system holds the scenarios that look at Sluice from outside only: processes, their
// sockets, and what a query shows. Nothing here imports the product.
//
// A scenario is written once against Platform. Which one it gets is chosen by the build tag: `sluice standalone`, or
// with the tag fleet a process per role on real parts.
package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/sluice-iot/sluice/tests/parts/part"
)

// Platform is what a scenario runs on: one process that is everything, or a fleet. It may be stopped or killed, and
// started again on the same data and addresses.
type Platform interface {
	Operated
	// Doors is where devices and people find it.
	Doors() Doors
	// Set has the next Start give these flags, instead of those given so far.
	Set(flags ...string)
	// Start starts what does not run and waits until all of it serves.
	Start(ctx context.Context) error
	// Stop stops every process in order; one that ends with an exit code is an error.
	Stop() error
	// Kill ends every process with SIGKILL, and waits for their ends.
	Kill()
}

// Operated is how a platform looks to who operates it.
type Operated interface {
	// FirstLogin is the administrator that the installation made.
	FirstLogin(ctx context.Context) (user, password string, err error)
	// Operate runs `sluice` with args, against a node of the platform, and returns what it printed.
	Operate(ctx context.Context, args ...string) (string, error)
	// Metrics adds up all counters and gauges over the processes that run, by name and labels.
	Metrics(ctx context.Context) (map[string]float64, error)
	// Processes are those of Sluice itself, also those that do not run.
	Processes() []*part.Process
}

// Doors are addresses, host:port.
type Doors struct {
	MQTT    string // TCP
	MQTTTLS string // "" where there is none
	HTTP    string // devices' API, REST and WebSockets
	CoAP    string // UDP
	CoAPS   string // DTLS; "" where there is none
	Admin   string // the admin listener of one process that holds data
	Kafka   string // a broker, in Kafka's protocol
}

// binaryPath builds the binary, the first time it is asked for, into a folder that RemoveBinary removes.
var binaryPath = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sluice-system-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "sluice")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/sluice-iot/sluice/sluice").CombinedOutput(); err != nil {
		return path, fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// RemoveBinary removes the binary that the scenarios of this process share; without one it builds one first.
func RemoveBinary() error {
	path, err := binaryPath()
	return errors.Join(err, os.RemoveAll(filepath.Dir(path)))
}

var residentSize = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// ResidentKB is the resident memory of all the platform's processes that run.
func ResidentKB(platform Operated) (sum int, err error) {
	for _, p := range platform.Processes() {
		if !p.Running() {
			continue
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
		if err != nil {
			return 0, err
		}
		match := residentSize.FindSubmatch(text)
		if match == nil {
			return 0, errors.New("no VmRSS in /proc status")
		}
		kb, err := strconv.Atoi(string(match[1]))
		if err != nil {
			return 0, err
		}
		sum += kb
	}
	return sum, nil
}

var firstPassword = regexp.MustCompile(`(\S+@\S+) / (\S+)`)

// loginIn finds the credentials that a first start or an installation printed.
func loginIn(printed string) (user, password string, err error) {
	match := firstPassword.FindStringSubmatch(printed)
	if match == nil {
		return "", "", errors.New("the first start printed no credentials")
	}
	return match[1], match[2], nil
}

// operate runs the binary with args and returns what it printed.
func operate(ctx context.Context, args ...string) (string, error) {
	binary, err := binaryPath()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = part.Environ()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("sluice %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}
