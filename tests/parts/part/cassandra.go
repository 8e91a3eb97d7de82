package part

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

const cassandraVersion = "5.0.6"

// NewCassandra installs Cassandra where that is needed and prepares one node in dir, with small buffers and a heap of
// heap ("768m" when empty). Whoever connects needs no password. A write is answered when the disk has it
// (commitlog_sync: batch), as in production.
func NewCassandra(ctx context.Context, dir, heap string) (*Single, error) {
	if heap == "" {
		heap = "768m"
	}
	classPath, _, err := jars(ctx, "cassandra", cassandraVersion, cassandraPOM, nil)
	if err != nil {
		return nil, err
	}
	addresses, err := freeAddresses(2)
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "cassandra")
	host, port := split(addresses[0])
	_, between := split(addresses[1])
	err = folder(dir, map[string]string{
		"cassandra.yaml": strings.NewReplacer("DIR", dir, "HOST", host, "PORT", port, "BETWEEN", between).Replace(cassandraConfig),
		"logback.xml":    cassandraLog,
	})
	if err != nil {
		return nil, fmt.Errorf("prepare Cassandra: %w", err)
	}
	args := []string{
		"-Xmx" + heap, "-Xms" + heap, "-Xss512k", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:MaxDirectMemorySize=256m",
		"-Dcassandra.config=file://" + filepath.Join(dir, "cassandra.yaml"), "-Dcassandra.storagedir=" + filepath.Join(dir, "data"),
		"-Dlogback.configurationFile=" + filepath.Join(dir, "logback.xml"), "-Dcassandra-foreground=yes",
		"-Dcassandra.skip_wait_for_gossip_to_settle=0", "-Dcassandra.ring_delay_ms=1", "-Dcassandra.skip_schema_check=true",
		"-Dcassandra.superuser_setup_delay_ms=0", "-Djdk.attach.allowAttachSelf=true", "-Djava.net.preferIPv4Stack=true", "-Dio.netty.tryReflectionSetAccessible=true",
	}
	args = append(args, cassandraModules()...)
	args = append(args, "-cp", classPath, "org.apache.cassandra.service.CassandraDaemon")
	// OPTIONS in version 4 of the native protocol; SUPPORTED names the versions of CQL.
	options := []byte{4, 0, 0, 0, 5, 0, 0, 0, 0}
	return &Single{address: addresses[0], Process: NewProcess(Command{
		Name: "cassandra", Program: "java", Args: args, Dir: dir,
		Ready: func(ctx context.Context) error { return ask(ctx, addresses[0], options, "CQL_VERSION") },
	})}, nil
}

// cassandraModules opens what Cassandra reaches into on Java 17, as its own jvm17-server.options does.
func cassandraModules() []string {
	var args []string
	for _, module := range strings.Fields(`java.base/jdk.internal.misc java.base/jdk.internal.ref java.base/sun.nio.ch
		java.management.rmi/com.sun.jmx.remote.internal.rmi java.rmi/sun.rmi.registry java.rmi/sun.rmi.server java.sql/java.sql
		java.base/java.lang.ref jdk.unsupported/sun.misc`) {
		args = append(args, "--add-exports", module+"=ALL-UNNAMED")
	}
	for _, module := range strings.Fields(`java.base/java.lang.module java.base/jdk.internal.loader java.base/jdk.internal.ref
		java.base/jdk.internal.reflect java.base/jdk.internal.math java.base/jdk.internal.module java.base/jdk.internal.util.jar
		jdk.management/com.sun.management.internal java.base/sun.nio.ch java.base/java.io java.base/java.nio java.base/java.lang
		java.base/java.util java.base/java.util.concurrent java.base/java.util.concurrent.atomic`) {
		args = append(args, "--add-opens", module+"=ALL-UNNAMED")
	}
	return args
}

const cassandraConfig = `cluster_name: sluice-parts
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
data_file_directories: [DIR/data/data]
commitlog_directory: DIR/data/commitlog
saved_caches_directory: DIR/data/saved_caches
hints_directory: DIR/data/hints
cdc_raw_directory: DIR/data/cdc_raw
commitlog_sync: batch
commitlog_segment_size: 16MiB
commitlog_total_space: 256MiB
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "HOST:BETWEEN"
listen_address: HOST
storage_port: BETWEEN
start_native_transport: true
rpc_address: HOST
native_transport_port: PORT
endpoint_snitch: SimpleSnitch
memtable_heap_space: 96MiB
memtable_offheap_space: 96MiB
key_cache_size: 8MiB
counter_cache_size: 0MiB
file_cache_enabled: false
networking_cache_size: 16MiB
concurrent_reads: 16
concurrent_writes: 16
concurrent_compactors: 1
auto_snapshot: false
authenticator: AllowAllAuthenticator
authorizer: AllowAllAuthorizer
`

const cassandraLog = `<configuration>
  <appender name="console" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%date %level %logger{20} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="console"/></root>
</configuration>
`
