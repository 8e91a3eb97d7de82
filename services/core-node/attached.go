package corenode

import (
	"fmt"

	"github.com/sluice-iot/sluice/services/core-node/internal/alarm"
	"github.com/sluice-iot/sluice/services/core-node/internal/claim"
	"github.com/sluice-iot/sluice/services/core-node/internal/event"
	"github.com/sluice-iot/sluice/services/core-node/internal/ota"
	"github.com/sluice-iot/sluice/services/core-node/internal/relation"
	"github.com/sluice-iot/sluice/services/core-node/internal/telemetry"
)

// attached is what is kept of entities beside the entities themselves.
type attached struct {
	relations *relation.Registry
	alarms    *alarm.Registry
	claims    *claim.Registry
	events    *event.Writer
	told      *event.Reader // what events has stored
	packages  *ota.Library
}

// attach opens it over the store.
func (s *Service) attach() error {
	s.relations = relation.New(s.store, s.config.Relations)
	s.alarms = alarm.New(alarm.Options{Store: s.store, Relations: s.relations, Settings: s.config.Alarms})
	s.claims = claim.New(s.store, s.config.Claims, nil)
	s.events = event.NewWriter(event.Options{Rows: s.store, Settings: s.config.Events, Log: s.env.Log, Metrics: s.env.Metrics})
	s.told = event.NewReader(s.store, s.config.Events, nil)
	blobs, noUploads, err := s.config.openBlobs()
	if err != nil {
		return fmt.Errorf("open the store of blobs: %w", err)
	}
	if noUploads != "" {
		s.env.Log.Warn(noUploads)
	}
	s.packages = ota.New(ota.Options{
		Blobs: blobs, NoUploads: noUploads, Rows: s.store, Values: s.store, Writer: telemetry.Remote{Bus: s.bus, Budget: s.config.CallBudget}, Partitions: s.partitions, Settings: s.config.OTA,
		Log: s.env.Log, Metrics: ota.NewMetrics(s.env.Metrics),
	})
	return nil
}
