package ring

import (
	"strings"
	"testing"
	"time"
)

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	good := Settings{ZooKeeper: []string{"a:2181"}, ZooKeeperRoot: "/sluice", ZooKeeperSession: 2 * time.Second, ZooKeeperSettle: 150 * time.Millisecond, LeaseMargin: 700 * time.Millisecond}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for flag, change := range map[string]func(*Settings){
		"--zookeeper:":         func(s *Settings) { s.ZooKeeper = []string{"a"} },
		"--zookeeper-root:":    func(s *Settings) { s.ZooKeeperRoot = "sluice" },
		"--zookeeper-session:": func(s *Settings) { s.ZooKeeperSession = 50 * time.Millisecond },
		"--zookeeper-settle:":  func(s *Settings) { s.ZooKeeperSettle = 3 * time.Second },
		"--lease-margin: 399":  func(s *Settings) { s.LeaseMargin = 399 * time.Millisecond },
		"--lease-margin: 1.1s": func(s *Settings) { s.LeaseMargin = 1100 * time.Millisecond },
	} {
		s := good
		change(&s)
		if err := s.Validate(); err == nil || !strings.HasPrefix(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
		s.ZooKeeper = nil // nothing of it matters to a single node
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", flag, err)
		}
	}
}
