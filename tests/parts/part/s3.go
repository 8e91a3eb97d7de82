package part

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

const s3Version = "2.9.0"

// What every S3 has: a bucket and the one key that may use it. The server listens to this machine only.
const (
	S3Bucket = "sluice-test"
	S3KeyID  = "sluice"
	S3Secret = "not-a-secret"
)

// NewS3 installs S3Proxy where that is needed and prepares one in dir: it speaks S3 over plain HTTP, checks signatures of
// version 4 and keeps objects as files. The bucket S3Bucket is there.
func NewS3(ctx context.Context, dir string) (*Single, error) {
	classPath, _, err := jars(ctx, "s3proxy", s3Version, s3POM, nil)
	if err != nil {
		return nil, err
	}
	address, err := FreeAddress("tcp")
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "s3")
	data := filepath.Join(dir, "data")
	err = folder(dir, map[string]string{
		"s3proxy.conf": fmt.Sprintf(s3Config, address, S3KeyID, S3Secret, data),
		"logback.xml":  s3Log,
	})
	if err == nil {
		err = folder(data, nil)
	}
	if err == nil {
		err = os.MkdirAll(filepath.Join(data, S3Bucket), 0o700) // whatever others may read counts as public
	}
	if err != nil {
		return nil, fmt.Errorf("prepare S3: %w", err)
	}
	return &Single{address: address, Process: NewProcess(Command{
		Name: "s3", Program: "java", Dir: dir,
		Args: []string{
			"-Xmx256m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:TieredStopAtLevel=1",
			"-Dlogback.configurationFile=" + filepath.Join(dir, "logback.xml"), "-Djava.io.tmpdir=" + dir,
			"-cp", classPath, "org.gaul.s3proxy.Main", "--properties", "s3proxy.conf",
		},
		Ready: func(ctx context.Context) error { // it wants a signature
			return ask(ctx, address, []byte("GET /"+S3Bucket+" HTTP/1.0\r\n\r\n"), "<Code>AccessDenied</Code>")
		},
	})}, nil
}

const s3Config = `s3proxy.endpoint=http://%s
s3proxy.authorization=aws-v4
s3proxy.identity=%s
s3proxy.credential=%s
jclouds.provider=filesystem-nio2
jclouds.identity=none
jclouds.credential=none
jclouds.filesystem.basedir=%s
`

const s3Log = `<configuration>
  <appender name="console" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%date %level %logger{20} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="console"/></root>
</configuration>
`
