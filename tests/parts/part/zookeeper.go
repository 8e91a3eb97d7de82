package part

import (
	"context"
	"fmt"
	"path/filepath"
)

const debianJars = "/usr/share/java/"

// NewZooKeeper installs ZooKeeper where that is needed and prepares one server in dir. A tick is 200 ms: a session
// time-out of 2 s is granted, and an ephemeral node is gone at most 2 s after its owner died.
func NewZooKeeper(ctx context.Context, dir string) (*Single, error) {
	err := debian(ctx, needed{"java", "default-jre-headless"},
		needed{debianJars + "zookeeper.jar", "libzookeeper-java"}, needed{debianJars + "slf4j-simple.jar", "libslf4j-java"})
	if err != nil {
		return nil, err
	}
	address, err := FreeAddress("tcp")
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "zookeeper")
	host, port := split(address)
	err = folder(dir, map[string]string{"zoo.cfg": fmt.Sprintf(`tickTime=200
dataDir=%s
clientPort=%s
clientPortAddress=%s
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=*
`, filepath.Join(dir, "data"), port, host)})
	if err != nil {
		return nil, fmt.Errorf("prepare ZooKeeper: %w", err)
	}
	return &Single{address: address, Process: NewProcess(Command{
		Name: "zookeeper", Program: "java", Dir: dir,
		Args: []string{
			"-Xmx64m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
			"-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dzookeeper.jmx.log4j.disable=true", "-Dzookeeper.admin.enableServer=false",
			"-cp", debianJars + "zookeeper.jar:" + debianJars + "slf4j-simple.jar",
			"org.apache.zookeeper.server.quorum.QuorumPeerMain", "zoo.cfg",
		},
		Ready: func(ctx context.Context) error { return ask(ctx, address, []byte("srvr"), "Mode:") },
	})}, nil
}
