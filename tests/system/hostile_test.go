package system

import (
	"net"
	"testing"
	"time"

	"github.com/sluice-iot/sluice/tests/system/ledger"
)

const (
	hostileConnections = 5000
	// hostileGrowthKB bounds what 5,000 hostile connections may cost: 10 KB each, and 30 MB for the honest load beside them.
	hostileGrowthKB = hostileConnections*10 + 30_000
)

// TestHostileConnections opens connections that announce a packet of 256 MB, or begin a
// CONNECT and stop, while honest devices publish: memory stays within the bound and no honest
// reading is lost.
func TestHostileConnections(t *testing.T) {
	ctx, platform, tenant := startPlatform(t)
	honest := newDevices(ctx, t, platform.Doors(), tenant, 30)
	stop := honest.run(ctx, t)
	honest.awaitAcknowledged(ctx, t, 10*len(honest.firmware))
	before, err := ResidentKB(platform)
	if err != nil {
		t.Fatal(err)
	}

	opened := openHostile(t, platform.Doors().MQTT)
	peak := peakResident(t, platform, 5*time.Second)
	honest.awaitAcknowledged(ctx, t, honest.acknowledged()+10*len(honest.firmware))
	for _, c := range opened {
		c.Close()
	}
	stop()

	total := honest.check(ctx, t, tenant)
	t.Logf("%d hostile connections: resident %d KB before, %d KB at the peak; honest: acknowledged %d, lost %d",
		len(opened), before, peak, total.Acknowledged, len(total.Lost))
	if peak-before > hostileGrowthKB {
		t.Errorf("memory grew by %d KB, the bound is %d KB", peak-before, hostileGrowthKB)
	}
}

// openHostile opens the connections; every second one announces 256 MB, the others stop in the middle of a CONNECT.
func openHostile(t *testing.T, address string) []net.Conn {
	t.Helper()
	announced := []byte{0x10, 0xff, 0xff, 0xff, 0x7f, 0, 4, 'M', 'Q', 'T', 'T'}
	begun := []byte{0x10, 40, 0, 4, 'M', 'Q'}
	var opened []net.Conn
	for i := range hostileConnections {
		conn, err := net.DialTimeout("tcp", address, 5*time.Second)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		opened = append(opened, conn)
		first := announced
		if i%2 == 0 {
			first = begun
		}
		if _, err := conn.Write(first); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	return opened
}

func peakResident(t *testing.T, platform Platform, during time.Duration) int {
	t.Helper()
	peak := 0
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		now, err := ResidentKB(platform)
		if err != nil {
			t.Fatal(err)
		}
		peak = max(peak, now)
	}
	return peak
}

// TestPlantedLoss shows that the scenario itself would notice: a reading that is called acknowledged without ever being sent is reported.
func TestPlantedLoss(t *testing.T) {
	ctx, platform, tenant := startPlatform(t)
	token := unique("LIAR")
	id, err := tenant.NewDevice(ctx, "liar", token)
	if err != nil {
		t.Fatal(err)
	}
	device := NewHTTPFirmware(Firmware{Token: token, Account: ledger.NewDevice("liar", true)}, platform.Doors().HTTP)
	device.pending = []int{device.Account.Next()}
	if err := device.once(ctx); err != nil {
		t.Fatal(err)
	}
	lie := device.Account.Next()
	device.Account.Sending(lie)
	device.Account.Acknowledged(lie)
	rows, err := tenant.Rows(ctx, id, "n")
	if err != nil {
		t.Fatal(err)
	}
	if verdict := device.Account.Check(rows); len(verdict.Lost) == 0 {
		t.Errorf("a reading that was never sent counts as stored: %+v", verdict)
	}
}
