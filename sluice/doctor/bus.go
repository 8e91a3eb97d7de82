package doctor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/sluice-iot/sluice/bus"
	"github.com/sluice-iot/sluice/bus/topics"
)

// names looks every host up that the settings name.
func (d *Doctor) names(ctx context.Context) []finding {
	var found []finding
	for _, address := range d.addresses() {
		host, _, err := net.SplitHostPort(address)
		f := finding{about: "name " + address, err: err}
		if err == nil && net.ParseIP(host) == nil {
			var addresses []string
			if addresses, f.err = net.DefaultResolver.LookupHost(ctx, host); f.err == nil {
				f.told = fmt.Sprint(addresses)
			}
		}
		if f.err != nil || f.told != "" { // an address needs no name
			found = append(found, f)
		}
	}
	return found
}

// addresses are all that the settings name.
func (d *Doctor) addresses() []string {
	all := append([]string{}, d.Bus.Brokers...)
	all = append(all, d.Core.Ring.ZooKeeper...)
	if d.Core.Store == "cassandra" {
		all = append(all, d.Core.Cassandra.Hosts...)
	}
	return all
}

// brokers connects to each.
func (d *Doctor) brokers(ctx context.Context) []finding {
	found := make([]finding, 0, len(d.Bus.Brokers))
	for _, address := range d.Bus.Brokers {
		f := finding{about: "kafka " + address, told: "connects"}
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			err = conn.Close()
		}
		f.err = err
		found = append(found, f)
	}
	return found
}

// retentionWarning is the share of a topic's retention that what waits may have used up without a word.
const retentionWarning = 0.5

// topics looks whether the topics are as `sluice install` makes them, and how long what waits in them has waited.
func (d *Doctor) topics(ctx context.Context) []finding {
	f := finding{about: "kafka topics"}
	queues, err := d.Core.FurtherQueues()
	if err != nil {
		return []finding{{about: f.about, err: err}}
	}
	partitions, err := topics.CheckOwned(ctx, d.Bus.Brokers, d.Bus.TopicPrefix, queues)
	if err == nil {
		specs := append(topics.Standard(partitions), topics.Queues(partitions, queues)...)
		err = topics.Check(ctx, d.Bus.Brokers, topics.Prefixed(d.Bus.TopicPrefix, specs))
	}
	if err != nil {
		f.err = fmt.Errorf("%w (`sluice install` makes them)", err)
		return []finding{f}
	}
	f.told = fmt.Sprintf("%d partitions of each topic core nodes own", partitions)
	return append([]finding{f}, d.lag(ctx)...)
}

func (d *Doctor) lag(ctx context.Context) (found []finding) {
	f := finding{about: "kafka lag"}
	config := d.Bus
	config.ConnectTimeout = d.Patience
	client, err := bus.Dial(ctx, config, bus.Options{Node: "doctor", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.err = err
		return []finding{f}
	}
	defer func() {
		if err := client.Close(); err != nil {
			found = append(found, finding{about: "kafka lag", err: err})
		}
	}()
	waiting, used, oldest := int64(0), 0.0, time.Time{}
	for _, topic := range []string{topics.RuleEngine, topics.Core} {
		lags, err := client.Lag(ctx, topic)
		if err != nil {
			f.err = err
			return []finding{f}
		}
		for _, l := range lags {
			waiting, used = waiting+l.Waiting(), max(used, l.Used)
			if !l.Oldest.IsZero() && (oldest.IsZero() || l.Oldest.Before(oldest)) {
				oldest = l.Oldest
			}
		}
	}
	f.told = fmt.Sprintf("%d records wait for core nodes", waiting)
	if used >= retentionWarning {
		f.warning = true
		f.err = fmt.Errorf("%w: the oldest record that waits, of %s, has used up %.0f %% of its retention", errWaits, oldest.UTC().Format(time.RFC3339), 100*used)
	}
	return []finding{f}
}

var errWaits = errors.New("records are lost when nobody handles them in time")
