package part

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

//go:embed kafka.pom.xml
var kafkaPOM []byte

//go:embed cassandra.pom.xml
var cassandraPOM []byte

//go:embed s3.pom.xml
var s3POM []byte

// Cache is the folder that holds what was installed: SLUICE_PARTS, else sluice/parts in the user's cache folder.
func Cache() (string, error) {
	if dir := os.Getenv("SLUICE_PARTS"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	return filepath.Join(dir, "sluice", "parts"), nil
}

// lock keeps two installations apart, those of other processes too.
func lock() (unlock func(), err error) {
	dir, err := Cache()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock the cache folder: %w", err)
	}
	return func() { _ = file.Close() }, nil // which unlocks
}

// jars returns the class path of what pom names, fetched by Maven when the cache lacks it. Its folder is named after
// the version, so a new version never changes the files under a running program. finish, if not nil, adds to a new
// folder what else belongs into it.
func jars(ctx context.Context, name, version string, pom []byte, finish func(dir, classPath string) error) (classPath, dir string, err error) {
	unlock, err := lock()
	if err != nil {
		return "", "", err
	}
	defer unlock()
	cache, err := Cache()
	if err != nil {
		return "", "", err
	}
	dir = filepath.Join(cache, name+"-"+version)
	classPath = filepath.Join(dir, "lib", "*")
	done := filepath.Join(dir, "pom.xml") // written last
	if had, err := os.ReadFile(done); err == nil && bytes.Equal(had, pom) {
		return classPath, dir, nil
	}
	if err := packages(ctx, []needed{{"mvn", "maven"}, {"java", "default-jre-headless"}}); err != nil {
		return "", "", err
	}
	wanted := filepath.Join(dir, "wanted.xml")
	if err := folder(dir, map[string]string{"wanted.xml": string(pom)}); err != nil {
		return "", "", err
	}
	err = run(ctx, "mvn", "-q", "-B", "-f", wanted, "dependency:copy-dependencies",
		"-DincludeScope=runtime", "-DoutputDirectory="+filepath.Join(dir, "lib"))
	if err == nil && finish != nil {
		err = finish(dir, classPath)
	}
	if err != nil {
		return "", "", fmt.Errorf("install %s: %w", name, err)
	}
	return classPath, dir, os.Rename(wanted, done)
}

// needed is a program or file and the Debian package that brings it.
type needed struct{ what, debian string }

func (n needed) there() bool {
	if filepath.IsAbs(n.what) {
		_, err := os.Stat(n.what)
		return err == nil
	}
	return find(n.what) != ""
}

// find returns where a program is, also where only root's path would have it; "" when it is nowhere.
func find(program string) string {
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	if path := filepath.Join("/usr/sbin", program); (needed{what: path}).there() {
		return path
	}
	return ""
}

// debian installs what is missing; it locks.
func debian(ctx context.Context, all ...needed) error {
	missing := false
	for _, n := range all {
		missing = missing || !n.there()
	}
	if !missing {
		return nil
	}
	unlock, err := lock()
	if err != nil {
		return err
	}
	defer unlock()
	return packages(ctx, all)
}

// policy is the file by which Debian's packages are told whether to start their daemons, and what it says to keep them
// from it. One of other content is somebody else's and stays.
const (
	policy       = "/usr/sbin/policy-rc.d"
	startNothing = "#!/bin/sh\nexit 101 # while tests install their parts\n"
)

// packages installs the Debian packages of what is missing. Their daemons are not started: a part is ours to start.
func packages(ctx context.Context, all []needed) (err error) {
	var names []string
	for _, n := range all {
		if !n.there() {
			names = append(names, n.debian)
		}
	}
	if len(names) == 0 {
		return nil
	}
	had, missing := os.ReadFile(policy)
	if os.IsNotExist(missing) || string(had) == startNothing { // ours, of a run that was killed
		if err := os.WriteFile(policy, []byte(startNothing), 0o755); err != nil {
			return fmt.Errorf("keep daemons from being started: %w", err)
		}
		defer func() { err = errors.Join(err, os.Remove(policy)) }()
	}
	if err := run(ctx, "apt-get", "update", "-qq"); err != nil {
		return err
	}
	if err := run(ctx, "apt-get", append([]string{"install", "-qq", "-y", "--no-install-recommends"}, names...)...); err != nil {
		return fmt.Errorf("install %s: %w", strings.Join(names, ", "), err)
	}
	for _, n := range all {
		if !n.there() {
			return fmt.Errorf("package %s is installed and brought no %s", n.debian, n.what)
		}
	}
	return nil
}

func run(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, out)
	}
	return nil
}

// folder makes dir and the files in it.
func folder(dir string, files map[string]string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}
