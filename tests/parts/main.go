// Command parts starts real Kafka, ZooKeeper, Cassandra, Redis and S3, runs a command beside them and stops them:
//
//	go run ./tests/parts kafka zookeeper redis cassandra s3 -- go test -tags fleet ./bus/...
//
// The command finds them by SLUICE_TEST_KAFKA, SLUICE_TEST_ZOOKEEPER, SLUICE_TEST_CASSANDRA, SLUICE_TEST_REDIS and SLUICE_TEST_S3.
// Without a command they run until interrupted, and the addresses are printed.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-iot/sluice/process/settings"
	"github.com/sluice-iot/sluice/tests/parts/part"
)

// options is the command line before "--".
type options struct {
	Parts      []string `arg:"" enum:"kafka,zookeeper,cassandra,redis,s3" help:"What to start: kafka, zookeeper, cassandra, redis, s3."`
	Brokers    int      `default:"1" enum:"1,3" help:"Kafka brokers: 1, or 3 with replication 3."`
	AutoCreate bool     `help:"Kafka creates topics when they are first used."`
	Dir        string   `help:"Keep configuration, data and logs in this folder; by default a temporary one, removed at the end."`
}

func main() {
	var o options
	args, command := os.Args[1:], []string(nil)
	if i := slices.Index(args, "--"); i >= 0 {
		args, command = args[:i], args[i+1:]
	}
	grammar := settings.Grammar{Name: "parts", Description: "Start real parts, run a command (after --) beside them, stop them.", Commands: &o}
	if _, err := settings.Parse(grammar, args, os.Environ(), os.Stdout); errors.Is(err, settings.ErrHelp) {
		return
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "parts:", err)
		os.Exit(1)
	}
	part.EndWithParent()
	code, err := o.run(command)
	if err != nil {
		fmt.Fprintln(os.Stderr, "parts:", err)
		code = max(1, code)
	}
	os.Exit(code)
}

// run returns the command's exit code.
func (o *options) run(command []string) (code int, err error) {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	dir := o.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "sluice-parts-"); err != nil {
			return 1, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	began := time.Now()
	parts, err := o.prepare(ctx, dir)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, part.Together(parts, part.Part.Stop)) }()
	err = part.Together(parts, func(p part.Part) error {
		since := time.Now()
		if err := p.Start(ctx); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "parts: %s on %s after %.1f s\n", p.Name(), p.Address(), time.Since(since).Seconds())
		return nil
	})
	if err != nil {
		return 1, err
	}
	fmt.Fprintf(os.Stderr, "parts: all ready after %.1f s\n", time.Since(began).Seconds())
	if len(command) == 0 {
		for _, p := range parts {
			fmt.Printf("export %s=%s\n", variable(p), p.Address())
		}
		<-ctx.Done()
		return 0, nil
	}
	return beside(ctx, parts, command)
}

func (o *options) prepare(ctx context.Context, dir string) ([]part.Part, error) {
	var parts []part.Part
	for _, name := range o.Parts {
		var p part.Part
		var err error
		switch name {
		case "kafka":
			p, err = part.NewKafka(ctx, dir, part.KafkaOptions{Brokers: o.Brokers, AutoCreate: o.AutoCreate})
		case "zookeeper":
			p, err = part.NewZooKeeper(ctx, dir)
		case "cassandra":
			p, err = part.NewCassandra(ctx, dir, "")
		case "redis":
			p, err = part.NewRedis(ctx, dir)
		case "s3":
			p, err = part.NewS3(ctx, dir)
		}
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return parts, nil
}

func variable(p part.Part) string { return "SLUICE_TEST_" + strings.ToUpper(p.Name()) }

// beside runs the command; an interrupt is passed on to it, and its end is waited for.
func beside(ctx context.Context, parts []part.Part, command []string) (int, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = os.Environ() // with the settings that whoever starts us gives
	for _, p := range parts {
		cmd.Env = append(cmd.Env, variable(p)+"="+p.Address())
		if kafka, is := p.(*part.Kafka); is {
			cmd.Env = append(cmd.Env, variable(p)+"_LIB="+kafka.Libraries())
		}
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(1, exit.ExitCode()), nil
	}
	return 0, err
}
