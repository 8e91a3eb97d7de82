package session

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sluice-iot/sluice/proto/gen/sluicepb"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/packet"
	"github.com/sluice-iot/sluice/services/mqtt-transport/internal/topic"
	"github.com/sluice-iot/sluice/transport"
)

func publishTo(v packet.Version, name string, id uint16, payload string) []byte {
	return packet.AppendPublish(nil, v, 1, id, name, []byte(payload))
}

// assigned returns a session of a device with firmware of n bytes.
func assigned(t testing.TB, v packet.Version, n int) (c *connection, data []byte) {
	t.Helper()
	c = acceptedSession(t, v)
	for i := range n {
		data = append(data, byte(i/7))
	}
	c.platform.packages = map[sluicepb.PackageType]*fakePackage{sluicepb.PackageType_FIRMWARE: {data: data}}
	return c, data
}

// settle waits for what is answered meanwhile and takes what was written.
func (c *connection) settle() {
	c.hub.Wait()
	c.take()
}

// TestM79DownloadsAreBounded: the download not asked for for the longest is forgotten; of the others the package is looked up once.
func TestM79DownloadsAreBounded(t *testing.T) {
	c, _ := assigned(t, packet.V5, 100)
	for i, id := range []string{"1", "2", "1", "3", "1", "2"} {
		c.feed(t.Context(), publishTo(packet.V5, "v2/fw/request/"+id+"/chunk/0", uint16(i+1), "10"))
		c.settle()
	}
	if c.platform.lookups != 4 {
		t.Errorf("looked up %d times, want 4: ids 1, 2, 3, and 2 again", c.platform.lookups)
	}
	if len(c.downloads) != testRules.Downloads {
		t.Errorf("%d downloads are remembered", len(c.downloads))
	}
}

// TestM80WholePackageIsNotHeld: of a package in one message no more than the output's bound is in memory, and nothing comes within it.
func TestM80WholePackageIsNotHeld(t *testing.T) {
	c, data := assigned(t, packet.V311, 100_000)
	c.Feed(t.Context(), publishTo(packet.V311, "v2/fw/request/1/chunk/0", 1, ""))
	pings := 0
	for len(c.written) < len(data) {
		for o := c.Take(false); o != nil; o = c.Wrote(o) {
			if len(o.Bytes) > 2*testRules.OutputBytes {
				t.Fatalf("%d bytes wait at a time", len(o.Bytes))
			}
			c.written = append(c.written, o.Bytes...)
		}
		if pings < 10 {
			c.Feed(t.Context(), []byte{0xc0, 0})
			pings++
		}
	}
	c.settle()
	checkPackets(t, c.written)
	if !bytes.Contains(c.written, data) {
		t.Error("the package does not come in one piece")
	}
	if c.stream != nil {
		t.Error("the stream has not ended")
	}
}

// TestStreamEndsWithTheSession: what waits for room in a connection that is gone does not wait for ever.
func TestStreamEndsWithTheSession(t *testing.T) {
	c, _ := assigned(t, packet.V311, 100_000)
	c.Feed(t.Context(), publishTo(packet.V311, "v2/fw/request/1/chunk/0", 1, ""))
	c.Break(CauseLost)
	c.Ended()
	c.hub.Wait()
}

// TestShortPackage: a package whose data ends too early cannot be finished; the connection says so.
func TestShortPackage(t *testing.T) {
	c, _ := assigned(t, packet.V311, 100_000)
	c.downloads = []*download{{ask: ask{topic.FirmwareChunk, "1"}, found: &transport.Package{Title: "FIRMWARE", Size: 200_000}}}
	c.Feed(t.Context(), publishTo(packet.V311, "v2/fw/request/1/chunk/0", 1, ""))
	for c.wire.stops.Load() == 0 {
		c.take()
	}
	c.hub.Wait()
	if c.Cause() != CausePlatform {
		t.Errorf("ended by %v", c.Cause())
	}
}

// TestPackageLargerThanTheClientTakes: a client that said how much it takes is told that the chunk is more.
func TestPackageLargerThanTheClientTakes(t *testing.T) {
	c, _ := assigned(t, packet.V5, 900)
	c.packetMaximum = 100
	c.feed(t.Context(), publishTo(packet.V5, "v2/fw/request/1/chunk/0", 1, "500"))
	c.settle()
	if !bytes.Contains(c.written, []byte("PAYLOAD_TOO_LARGE")) || c.wire.stops.Load() == 0 {
		t.Errorf("%q", c.written)
	}
}

// TestChunksAreBounded: the request after the last that may be answered at a time is not taken on yet.
func TestChunksAreBounded(t *testing.T) {
	c, _ := assigned(t, packet.V311, 100)
	c.platform.mu.Lock()
	var all []byte
	for id := range uint16(3) {
		all = append(all, publishTo(packet.V311, "v2/fw/request/1/chunk/0", id+1, "10")...)
	}
	n, v := c.Feed(t.Context(), all)
	if v != Pause || n != len(all)/3*testRules.AttributeReads {
		t.Errorf("%d bytes were taken with %d, of %d", n, v, len(all))
	}
	c.platform.mu.Unlock()
	c.settle()
	if c.wire.resumes.Load() == 0 {
		t.Error("not resumed")
	}
}

// TestProvisionedClientIsSentAway a minute after it was answered, whatever it does until then.
func TestProvisionedClientIsSentAway(t *testing.T) {
	c := open(t)
	c.feed(t.Context(), []byte("\x10\x18\x00\x04MQTT\x05\x82\x00\x0a\x00\x00\x00\x00\x09provision"))
	if c.device != nil || c.phase != accepted {
		t.Fatalf("phase %d", c.phase)
	}
	c.feed(t.Context(), publishTo(packet.V5, topicOfProvisioning, 1, `{"provisionDeviceSecret":"S"}`))
	c.settle()
	if !strings.Contains(string(c.written), `{"status":"SUCCESS"}`) {
		t.Fatalf("%q", c.written)
	}
	for range 60 {
		c.hub.Advance()
		c.feed(t.Context(), []byte{0xc0, 0})
		c.Expire()
	}
	if c.wire.stops.Load() > 0 {
		t.Fatal("closed too early")
	}
	c.hub.Advance()
	c.Expire()
	if c.wire.stops.Load() == 0 || c.Cause() != CauseProvisioned {
		t.Errorf("%d stops by %v", c.wire.stops.Load(), c.Cause())
	}
	c.Ended()
}

const topicOfProvisioning = "/provision/request"

// TestAnswersOfEndedSessions: an answer that comes after the end goes nowhere.
func TestAnswersOfEndedSessions(t *testing.T) {
	c := acceptedSession(t, packet.V311)
	c.feed(t.Context(), publishTo(packet.V311, "v2/r/req/1", 1, `{"method":"m"}`))
	life := c.life
	c.Ended()
	c.platform.calls[0](`{}`)
	if life.Err() == nil {
		t.Error("the platform is not told that nobody waits")
	}
}
